// Reports as cargo's tests do: a line for each test, what failed in full, and the sum.
import path from 'node:path';

export default async function* report(source) {
  let passed = 0;
  let failed = 0;
  let ignored = 0;
  let suite = 'node';
  for await (const { type, data } of source) {
    if (type === 'test:stderr' || type === 'test:stdout') {
      yield data.message;
      continue;
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (data.file) suite = path.basename(data.file).replace('.test.mjs', '');
    // The file as a whole is no test, unless it could not be run.
    if (data.name === data.file || data.name.endsWith('.mjs')) {
      if (type === 'test:pass' || passed + failed > 0) continue;
    }
    const name = `${suite}::${data.name.replaceAll(' ', '_')}`;
    if (type === 'test:fail') {
      failed += 1;
      const error = data.details.error;
      yield `test ${name} ... FAILED\n${error.cause?.stack ?? error.stack}\n`;
    } else if (data.skip !== undefined) {
      ignored += 1;
      yield `test ${name} ... ignored, ${data.skip}\n`;
    } else {
      passed += 1;
      yield `test ${name} ... ok\n`;
    }
  }
  const word = failed ? 'FAILED' : 'ok';
  yield `\ntest result: ${word}. ${passed} passed; ${failed} failed; ${ignored} ignored (${suite})\n`;
}
