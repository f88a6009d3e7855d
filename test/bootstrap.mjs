// What `npm start` and `npm test` need on a fresh clone: the locked dependencies and an up-to-date build.
// Plain JavaScript without imports of ours: it runs before anything is installed. No install scripts are run.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const stamp = `${root}node_modules/.portferry-lock`;
const lock = readFileSync(`${root}package-lock.json`, 'utf8');

function run(what, command, args, options = {}) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    ...options,
  });
  if (status === 0) return;
  console.error(`${what} failed (${error?.message ?? `exit ${status}`}): ${[command, ...args].join(' ')}`);
  console.error(`${stdout ?? ''}${stderr ?? ''}`);
  process.exit(1);
}

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
  console.error('installing dependencies (npm ci) ...');
  // By a shell, since npm is a batch file on Windows; in one text, since a shell quotes no arguments.
  run('npm ci', 'npm ci --ignore-scripts --no-audit --no-fund', [], { shell: true });
  writeFileSync(stamp, lock);
}
// Without one: on Windows node itself is in a folder with a space in its name.
run('the build', process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', 'tsconfig.json']);
