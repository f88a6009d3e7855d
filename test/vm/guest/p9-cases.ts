/** What may be expected of one mount, whoever serves it and whatever dialect the kernel speaks. */
import { access, mkdir, open, opendir, readdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import { hostPort, loopback, until } from '../../helpers/processes.ts';
import { connectTo, readExactly, refuses, roundTrip } from '../../helpers/stream-client.ts';
import { type Cases, matches, same, WAIT_MS } from '../cases.ts';
import { mustRun, runProgram } from '../programs.ts';
import type { Containers } from './containers.ts';
import { codeOf, type Holder, hold, mountAt } from './p9-mount.ts';

/** Entries, and what makes their names long: more than the kernel asks for at a time, and more than a C library does (32 KiB). */
const MANY = 125;
const LONG = `-${'n'.repeat(245)}`;

export interface Mounted {
  /** For the names of cases. */
  readonly what: string;
  readonly point: string;
  /** As mount(8) takes them. */
  readonly source: string;
  readonly options: string;
}

export async function mountCases(
  cases: Cases,
  { what, point, source, options }: Mounted,
  containers: Containers,
): Promise<void> {
  const of = (name: string) => `${what}: ${name}`;
  const spec = loopback('tcp', containers.echo);
  const entry = `${point}/web`;

  /** Runs with a forward that a process of its own holds. */
  const held = async (body: (holder: Holder, port: number) => Promise<void>): Promise<void> => {
    const holder = await hold(entry, spec);
    try {
      matches(holder.answer, /^OK tcp:127\.0\.0\.1:\d+:tcp:127\.0\.0\.1:\d+$/, 'the answer');
      const port = hostPort(holder.answer.slice('OK '.length));
      same(await roundTrip(port, 'by 9P'), 'by 9P', 'the echo');
      await body(holder, port);
    } finally {
      await holder.running.kill('SIGKILL');
    }
  };
  const gone = async (port: number): Promise<void> => {
    await until('the port to refuse', () => refuses(port), WAIT_MS);
    await until('the entry to be gone', async () => (await codeOf(access(entry))) === 'ENOENT', WAIT_MS);
  };

  await cases.case(of('entries are made, listed, read and removed'), async () => {
    matches(await readFile(`${point}/README`, 'utf8'), /\bctl\b/, 'README');
    await mkdir(entry);
    same(await codeOf(mkdir(entry)), 'EEXIST', 'mkdir of what is there');
    same((await mustRun('ls', point)).split('\n'), ['README', 'web'], 'ls of the mount');
    same((await readdir(entry)).sort(), ['ctl', 'stats', 'status'], 'the files of an entry');
    same(
      await readFile(`${entry}/ctl`, 'utf8'),
      'ERROR no request received. Please read the README.\n',
      'ctl before a request',
    );
    same(await codeOf(writeFile(`${entry}/status`, 'x')), 'EACCES', 'writing to status');
    same(await codeOf(access(`${entry}/nothing`)), 'ENOENT', 'a file that is not there');
    await rmdir(entry);
    same(await readdir(point), ['README'], 'what is left');
  });

  await cases.case(
    of('a listing of many reads has each entry once, also of those that go under it'),
    async () => {
      const numbers = Array.from({ length: MANY }, (_, index) => `${index + 1_000}`);
      for (const number of numbers) await mkdir(`${point}/${number}${LONG}`);
      const short = (name: string): string => name.replace(LONG, '');
      // libuv sorts what readdir tells.
      same((await readdir(point)).map(short), [...numbers, 'README'], 'what is there');
      const seen: string[] = [];
      for await (const { name } of await opendir(point, { bufferSize: 1 })) {
        seen.push(short(name));
        if (name !== 'README') await rmdir(`${point}/${name}`);
      }
      same(seen.sort(), [...numbers, 'README'], 'what was seen by who removed each');
      same(await readdir(point), ['README'], 'what is left');
    },
  );

  await cases.case(of('a request and its answer through one opening, whose close ends it'), async () => {
    await mkdir(entry);
    const ctl = await open(`${entry}/ctl`, 'r+');
    let port = 0;
    try {
      same((await ctl.write(spec)).bytesWritten, spec.length, 'what write took');
      const answer = Buffer.alloc(512);
      const { bytesRead } = await ctl.read(answer, 0, answer.length, 0);
      matches(answer.toString('utf8', 0, bytesRead), /^OK tcp:127\.0\.0\.1:\d+:tcp:.*\n$/, 'the answer');
      same((await ctl.read(answer, 0, answer.length, bytesRead)).bytesRead, 0, 'bytes behind the answer');
      port = hostPort(answer.toString('utf8', 'OK '.length, bytesRead));
      same(await codeOf(ctl.write(spec)), 'EACCES', 'a second request');
      same(await roundTrip(port, 'one'), 'one', 'the echo');
    } finally {
      await ctl.close();
    }
    await gone(port);
  });

  await cases.case(of('stat and cat of ctl by others change nothing; kill -9 of the holder ends it'), () =>
    held(async ({ running, answer }, port) => {
      same((await stat(`${entry}/ctl`)).size, answer.length + 1, 'the size of ctl');
      await mustRun('stat', `${entry}/ctl`);
      same(await mustRun('cat', `${entry}/ctl`), answer, 'ctl as another process reads it');
      matches(await mustRun('cat', `${entry}/status`), /^state active$/m, 'status');
      await mustRun('sh', '-c', `exec 4<>"${entry}/ctl"; cat <&4`);
      same(await roundTrip(port, 'still'), 'still', 'the echo afterwards');
      const socket = await connectTo(port);
      socket.write('running');
      await readExactly(socket, 7);
      await running.kill('SIGKILL');
      await gone(port);
      socket.destroy();
    }),
  );

  await cases.case(of('a port that is taken is answered with the reason'), () =>
    held(async (_holder, port) => {
      const other = await hold(`${point}/other`, loopback('tcp', containers.echo, port));
      await other.running.kill('SIGKILL');
      const words = `Bind for 127.0.0.1:${port} failed: port is already allocated`;
      matches(other.answer, new RegExp(`^ERROR ${words}: VM "\\w+" has .* \\[PORT_IN_USE\\]$`), 'the answer');
      same(await roundTrip(port, 'first'), 'first', 'the echo of the first');
    }),
  );

  await cases.case(of('rmdir ends a forward that is held'), () =>
    held(async (_holder, port) => {
      await mustRun('rmdir', entry);
      await gone(port);
    }),
  );

  await cases.case(of('umount is refused while one is held; umount -l leaves it to its holder'), () =>
    held(async ({ running, answer }, port) => {
      const refused = await runProgram('umount', point);
      same(refused.code === 0, false, 'umount');
      matches(refused.said, /busy/i, 'what umount says');
      await mustRun('umount', '-l', point);
      same(await readdir(point), [], 'what is mounted');
      same(await roundTrip(port, 'detached'), 'detached', 'the echo');
      await mountAt(point, source, options);
      same(await mustRun('cat', `${entry}/ctl`), answer, 'ctl');
      await running.kill('SIGKILL');
      await gone(port);
    }),
  );
}
