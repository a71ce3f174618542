// testcontainers-node. Its reaper (Ryuk) is an image of Docker Hub, which a build machine may not reach: it is turned off.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { before, test } from 'node:test';

process.env.TESTCONTAINERS_RYUK_DISABLED = 'true';
const { GenericContainer, Network, Wait } = await import('testcontainers');

before(() => {
  execFileSync(process.env.ORLOP, ['import', path.join(process.env.IMAGES, 'servers.tar'), 'servers']);
});

function talk(host, port, words) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, host, () => socket.write(words));
    socket.on('data', (data) => (resolve(data.toString()), socket.destroy()));
    socket.on('error', reject);
  });
}

test('a cache, by its port', async () => {
  const container = await new GenericContainer('servers')
    .withCommand(['redis-server', '--protected-mode', 'no', '--bind', '0.0.0.0'])
    .withExposedPorts(6379)
    .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/))
    .start();
  try {
    assert.equal(await talk(container.getHost(), container.getMappedPort(6379), 'PING\r\n'), '+PONG\r\n');
  } finally {
    await container.stop();
  }
});

test('waiting for a port', async () => {
  const container = await new GenericContainer('servers')
    .withCommand(['sh', '-c', 'sleep 1; exec redis-server --protected-mode no --bind 0.0.0.0'])
    .withExposedPorts(6379)
    .start();
  try {
    assert.equal(await talk(container.getHost(), container.getMappedPort(6379), 'PING\r\n'), '+PONG\r\n');
  } finally {
    await container.stop();
  }
});

test('exec, logs, files', async () => {
  const container = await new GenericContainer('busybox')
    .withCommand(['sh', '-c', 'echo up; sleep 1000'])
    .withEnvironment({ A: 'b' })
    .withCopyContentToContainer([{ content: 'copied', target: '/tmp/file' }])
    .withWaitStrategy(Wait.forLogMessage('up'))
    .start();
  try {
    const ran = await container.exec(['sh', '-c', 'echo $A; cat /tmp/file']);
    assert.deepEqual([ran.exitCode, ran.output], [0, 'b\ncopied']);
    assert.equal((await container.exec(['false'])).exitCode, 1);
    const stream = await container.logs();
    // The library takes its reference to the stream's socket away: node itself would end before the first line comes.
    const awake = setInterval(() => {}, 1000);
    const line = await new Promise((resolve) => stream.once('data', resolve));
    clearInterval(awake);
    assert.match(String(line), /up/);
    await container.restart();
  } finally {
    await container.stop();
  }
});

test('waiting for health', async () => {
  const container = await new GenericContainer('busybox')
    .withCommand(['sh', '-c', 'sleep 0.5; touch /tmp/well; sleep 1000'])
    .withHealthCheck({ test: ['CMD', 'test', '-e', '/tmp/well'], interval: 200, timeout: 5000, retries: 50 })
    .withWaitStrategy(Wait.forHealthCheck())
    .start();
  await container.stop();
});

test('an image of its own', async () => {
  const context = mkdtempSync(path.join(process.env.SCRATCH, 'context-'));
  writeFileSync(path.join(context, 'Dockerfile'), 'FROM busybox\nARG A\nRUN echo $A >/made\nCMD ["sleep", "1000"]\n');
  const image = await GenericContainer.fromDockerfile(context).withBuildArgs({ A: 'by node' }).build();
  const container = await image.start();
  try {
    assert.equal((await container.exec(['cat', '/made'])).output, 'by node\n');
  } finally {
    await container.stop();
  }
});

test('a network with aliases', async () => {
  const network = await new Network().start();
  const server = await new GenericContainer('busybox').withCommand(['sleep', '1000']).withNetwork(network).withNetworkAliases('server').start();
  const guest = await new GenericContainer('busybox').withCommand(['sleep', '1000']).withNetwork(network).start();
  try {
    assert.equal((await guest.exec(['ping', '-c', '1', '-W', '5', 'server'])).exitCode, 0);
  } finally {
    await guest.stop();
    await server.stop();
    await network.stop();
  }
});
