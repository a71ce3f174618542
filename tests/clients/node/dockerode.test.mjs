// dockerode: what programs in JavaScript do with an engine. Many tools of CI and desktops stand on it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PassThrough } from 'node:stream';
import { once } from 'node:events';
import Docker from 'dockerode';
import tar from 'tar-stream';

const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace('unix://', ''), timeout: 30000 });

async function text(stream) {
  let all = '';
  for await (const chunk of stream) all += chunk;
  return all;
}

// Both streams of a multiplexed one.
async function demultiplex(stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => (out.end(), err.end()));
  stream.on('close', () => (out.end(), err.end()));
  return { out: await text(out), err: await text(err) };
}

function archive(files) {
  const pack = tar.pack();
  for (const [name, content] of Object.entries(files)) pack.entry({ name }, content);
  pack.finalize();
  return pack;
}

async function container(options, t) {
  const made = await docker.createContainer({ Image: 'busybox', Cmd: ['sleep', '1000'], ...options });
  t.after(() => made.remove({ force: true, v: true }).catch(() => {}));
  return made;
}

async function until(what, condition) {
  const end = Date.now() + 30000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < end, `not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('ping version info', async () => {
  assert.equal((await docker.ping()).toString(), 'OK');
  assert.equal((await docker.version()).Os, 'linux');
  assert.equal((await docker.info()).OSType, 'linux');
  assert.ok(Array.isArray((await docker.df()).Images));
});

test('run to the end', async () => {
  const out = new PassThrough();
  const [result, made] = await docker.run('busybox', ['sh', '-c', 'echo hello; exit 3'], out, { Tty: true });
  assert.equal(result.StatusCode, 3);
  assert.match(String(out.read()), /hello/);
  await made.remove();
});

test('errors carry status and message', async () => {
  await assert.rejects(docker.getContainer('nothing').inspect(), (error) => {
    assert.equal(error.statusCode, 404);
    assert.match(error.message, /No such container: nothing/);
    return true;
  });
  await assert.rejects(docker.createContainer({ Image: 'nothing' }), { statusCode: 404 });
  await assert.rejects(docker.getImage('nothing').inspect(), { statusCode: 404 });
  await assert.rejects(docker.getVolume('nothing').inspect(), { statusCode: 404 });
  await assert.rejects(docker.getNetwork('nothing').inspect(), { statusCode: 404 });
});

test('life', async (t) => {
  const made = await container({ name: 'node-life', Labels: { who: 'node' } }, t);
  await made.start();
  await assert.rejects(made.start(), { statusCode: 304 });
  assert.equal((await made.inspect()).State.Status, 'running');
  const listed = await docker.listContainers({ filters: { label: ['who=node'] } });
  assert.deepEqual(listed.map((each) => each.Names), [['/node-life']]);
  await made.pause();
  await made.unpause();
  await made.rename({ name: 'node-renamed' });
  await made.restart({ t: 0 });
  await made.kill({ signal: 'SIGKILL' });
  assert.deepEqual(await made.wait(), { StatusCode: 137 });
  await assert.rejects(made.stop(), { statusCode: 304 });
  await made.remove();
  await assert.rejects(made.inspect(), { statusCode: 404 });
});

test('attach hijacked both ways', async (t) => {
  const made = await container({ Cmd: ['cat'], OpenStdin: true, StdinOnce: true }, t);
  const stream = await made.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
  const said = demultiplex(stream);
  await made.start();
  stream.write('to and fro\n');
  stream.end();
  assert.deepEqual(await said, { out: 'to and fro\n', err: '' });
  assert.equal((await made.wait()).StatusCode, 0);
});

test('attach without an upgrade', async (t) => {
  const made = await container({ Cmd: ['sh', '-c', 'sleep 0.2; echo out; echo err >&2'] }, t);
  const stream = await made.attach({ stream: true, stdout: true, stderr: true });
  const said = demultiplex(stream);
  await made.start();
  assert.deepEqual(await said, { out: 'out\n', err: 'err\n' });
});

test('logs', async (t) => {
  const made = await container({ Cmd: ['sh', '-c', 'echo out; echo err >&2'] }, t);
  await made.start();
  await made.wait();
  const whole = await made.logs({ stdout: true, stderr: false });
  assert.equal(whole.subarray(8).toString(), 'out\n');
  assert.deepEqual(await demultiplex(await made.logs({ stdout: true, stderr: true, follow: true })), { out: 'out\n', err: 'err\n' });
});

test('exec', async (t) => {
  const made = await container({}, t);
  await made.start();
  const exec = await made.exec({ Cmd: ['sh', '-c', 'echo $A; echo e >&2; exit 5'], Env: ['A=b'], AttachStdout: true, AttachStderr: true });
  // Without an upgrade, which is what most programs do.
  assert.deepEqual(await demultiplex(await exec.start({})), { out: 'b\n', err: 'e\n' });
  assert.equal((await until('it has ended', async () => (await exec.inspect()).Running || exec.inspect())).ExitCode, 5);
  const typed = await made.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
  const stream = await typed.start({ hijack: true, stdin: true });
  const said = demultiplex(stream);
  stream.end('typed\n');
  assert.deepEqual(await said, { out: 'typed\n', err: '' });
});

test('exec on a terminal', async (t) => {
  const made = await container({}, t);
  await made.start();
  const exec = await made.exec({ Cmd: ['sh', '-c', 'read size; stty size'], AttachStdin: true, AttachStdout: true, Tty: true });
  const stream = await exec.start({ hijack: true, stdin: true, Tty: true });
  const said = text(stream);
  await exec.resize({ h: 33, w: 44 });
  stream.write('\n');
  assert.match(await said, /33 44/);
});

test('archives', async (t) => {
  const made = await container({}, t);
  await made.putArchive(archive({ one: '1', two: '22' }), { path: '/tmp' });
  const extract = tar.extract();
  const found = {};
  extract.on('entry', async (header, stream, next) => {
    found[header.name] = await text(stream);
    next();
  });
  (await made.getArchive({ path: '/tmp/two' })).pipe(extract);
  await once(extract, 'finish');
  assert.deepEqual(found, { two: '22' });
  const stat = await made.infoArchive({ path: '/tmp/two' });
  const header = stat.headers?.['x-docker-container-path-stat'];
  if (header) assert.equal(JSON.parse(Buffer.from(header, 'base64')).size, 2);
  assert.ok((await made.changes()).some((change) => change.Path === '/tmp/two' && change.Kind === 1));
});

test('volumes', async (t) => {
  const volume = await docker.createVolume({ Name: 'node-volume', Labels: { a: 'b' } });
  const made = await container({ Cmd: ['sh', '-c', 'echo x >/v/f'], HostConfig: { Binds: [`${volume.name}:/v`] } }, t);
  await made.start();
  await made.wait();
  assert.equal((await made.inspect()).Mounts.find((mount) => mount.Destination === '/v').Name, 'node-volume');
  await assert.rejects(docker.getVolume('node-volume').remove(), { statusCode: 409 });
  assert.deepEqual((await docker.listVolumes({ filters: { label: ['a=b'] } })).Volumes.map((each) => each.Name), ['node-volume']);
  await made.remove();
  await docker.getVolume('node-volume').remove();
});

test('stats', async (t) => {
  const made = await container({ HostConfig: { Memory: 64 << 20 } }, t);
  await made.start();
  assert.equal((await made.stats({ stream: false })).memory_stats.limit, 64 << 20);
  const stream = await made.stats({ stream: true });
  const [first] = await once(stream, 'data');
  assert.equal(JSON.parse(first).id, made.id);
  stream.destroy();
  assert.ok((await made.top()).Processes.length === 1);
});

test('events', async (t) => {
  const stream = await docker.getEvents({ filters: { type: ['container'], event: ['die'] } });
  const [made] = await Promise.all([container({ Cmd: ['sh', '-c', 'exit 4'] }, t)]);
  const seen = (async () => {
    let all = '';
    for await (const chunk of stream) {
      all += chunk;
      const line = all.split('\n').find((each) => each.includes(made.id));
      if (line) return JSON.parse(line);
    }
  })();
  await made.start();
  assert.equal((await seen).Actor.Attributes.exitCode, '4');
  stream.destroy();
});

test('images', async () => {
  const image = docker.getImage('busybox');
  await image.tag({ repo: 'node/other', tag: '1' });
  assert.ok((await docker.listImages({ filters: { reference: ['node/other'] } })).length === 1);
  assert.ok((await image.history()).length > 0);
  const saved = await docker.getImage('node/other:1').get();
  const loaded = await docker.loadImage(saved);
  assert.match(await text(loaded), /Loaded image/);
  await docker.getImage('node/other:1').remove();
});

test('build with progress', async (t) => {
  const stream = await docker.buildImage(archive({ Dockerfile: 'FROM busybox\nRUN echo built >/f\nCMD ["cat", "/f"]\n' }), { t: 'node-built' });
  const lines = await new Promise((resolve, reject) => docker.modem.followProgress(stream, (error, all) => (error ? reject(error) : resolve(all))));
  assert.ok(lines.some((line) => /^Successfully built [0-9a-f]{12}\n$/.test(line.stream ?? '')));
  assert.ok(lines.some((line) => /^sha256:/.test(line.aux?.ID ?? '')));
  const made = await container({ Image: 'node-built', Cmd: undefined }, t);
  await made.start();
  await made.wait();
  assert.equal((await made.logs({ stdout: true })).subarray(8).toString(), 'built\n');
  await made.remove();
  await docker.getImage('node-built').remove();
});

test('a build that fails says so in the stream', async () => {
  const stream = await docker.buildImage(archive({ Dockerfile: 'FROM busybox\nRUN exit 4\n' }), {});
  const lines = await new Promise((resolve) => docker.modem.followProgress(stream, (error, all) => resolve(all)));
  const last = lines.at(-1);
  assert.match(last.error, /returned a non-zero code: 4/);
  assert.deepEqual(last.errorDetail, { code: 4, message: last.error });
});

test('a pull that fails says so', async () => {
  await assert.rejects(docker.pull('localhost:1/nothing:1'));
});

test('abort a request', async (t) => {
  const made = await container({}, t);
  await made.start();
  const controller = new AbortController();
  const waiting = made.wait({ abortSignal: controller.signal });
  controller.abort();
  await assert.rejects(waiting);
  assert.equal((await made.inspect()).State.Running, true);
});

test('prune', async () => {
  const made = await docker.createContainer({ Image: 'busybox', Labels: { prune: 'node' } });
  assert.deepEqual((await docker.pruneContainers({ filters: { label: ['prune=node'] } })).ContainersDeleted, [made.id]);
  await docker.pruneVolumes();
  await docker.pruneImages();
});

test('networks', async (t) => {
  const network = await docker.createNetwork({ Name: 'node-net', Labels: { a: 'b' } });
  t.after(() => network.remove().catch(() => {}));
  const server = await container({ name: 'node-server' }, t);
  const other = await container({ HostConfig: { NetworkMode: 'node-net' } }, t);
  await server.start();
  await other.start();
  await network.connect({ Container: server.id, EndpointConfig: { Aliases: ['web'] } });
  assert.equal(Object.keys((await network.inspect()).Containers).length, 2);
  const exec = await other.exec({ Cmd: ['ping', '-c', '1', '-W', '5', 'web'], AttachStdout: true });
  assert.match((await demultiplex(await exec.start({}))).out, /1 packets received/);
  await network.disconnect({ Container: server.id });
  await other.remove({ force: true });
  await network.remove();
});
