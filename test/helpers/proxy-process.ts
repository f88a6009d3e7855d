/** portferry-proxy as dockerd starts it, or somebody by hand. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface ProxyProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** What came on descriptor 3, once that was closed. */
  readonly status: Promise<string>;
  readonly output: () => string;
  readonly exited: Promise<number | NodeJS.Signals>;
}

export interface ProxyOptions {
  /** dockerd hands over a pipe as descriptor 3. */
  readonly by: 'dockerd' | 'hand';
  /** One of ours that becomes descriptor 4. */
  readonly fd4?: number | undefined;
  /** Besides our own. */
  readonly env: Record<string, string>;
}

/** Starts a shell that runs the script. Whoever starts it ends it. */
export function startProxy(
  [command, ...args]: readonly string[],
  { by, fd4, env }: ProxyOptions,
): ProxyProcess {
  const child = spawn(command!, args, {
    stdio: ['ignore', 'pipe', 'pipe', by === 'dockerd' ? 'pipe' : 'ignore', fd4 ?? 'ignore'],
    env: { ...process.env, ...env },
  });
  const collect = (stream: NodeJS.ReadableStream | null | undefined): (() => string) => {
    let text = '';
    stream?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    return () => text;
  };
  const pipe = child.stdio[3] as NodeJS.ReadableStream | null;
  const status = collect(pipe);
  const output = [collect(child.stdout), collect(child.stderr)];
  return {
    child,
    pid: child.pid!,
    status: new Promise((resolve) => pipe?.on('end', () => resolve(status()))),
    output: () => output.map((text) => text()).join(''),
    exited: new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal!))),
  };
}

/** The processes that a process has started. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** Also when nobody has asked yet how it ended (proc_pid_stat(5): state Z). */
export function isGone(pid: number): boolean {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}
