/** The control filesystem as processes of the VM meet it: mounted by the kernel, used with what a shell has. */
import { mkdir, readdir } from 'node:fs/promises';
import { type Running, startProgram, until } from '../../helpers/processes.ts';
import { same, WAIT_MS } from '../cases.ts';
import { mustRun } from '../programs.ts';

/** As mount(8) names them. */
export const DIALECTS = ['9p2000', '9p2000.u', '9p2000.L'] as const;

/** Mounts with cache=none. @param options besides that: the transport, the version */
export async function mountAt(point: string, source: string, options: string): Promise<void> {
  await mkdir(point, { recursive: true });
  await mustRun('mount', '-t', '9p', '-o', `cache=none,${options}`, source, point);
  same((await readdir(point)).includes('README'), true, `README at ${point}`);
}

export async function unmount(point: string): Promise<void> {
  await mustRun('umount', point);
}

/** A process that holds a forward: a shell, as docs/protocol.md tells it to be done. */
export interface Holder {
  readonly running: Running;
  /** What ctl answered. */
  readonly answer: string;
}

const HOLD = 'mkdir "$1" && exec 3<>"$1/ctl" && printf %s "$2" >&3 && cat "$1/ctl" && exec sleep 9999';

/** Asks for a forward. Whoever starts it ends it. */
export async function hold(entry: string, spec: string): Promise<Holder> {
  const running = startProgram('sh', ['-c', HOLD, 'sh', entry, spec]);
  const answer = await until(
    `an answer in ${entry}`,
    () => {
      if (running.child.exitCode !== null) throw new Error(`the shell ended: ${running.stderr()}`);
      return running.stdout().endsWith('\n') && running.stdout().trimEnd();
    },
    WAIT_MS,
  );
  return { running, answer };
}

/** The error code of a call that has to fail. */
export async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
  }
  return 'no error';
}
