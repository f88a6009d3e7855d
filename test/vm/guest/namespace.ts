import { PROGRAM, type Running, startProgram, until } from '../../helpers/processes.ts';

/** A network namespace with a loopback of its own: the machine that a VM would be. AF_VSOCK reaches over it. */
export class Namespace {
  private readonly holder: Running;

  private constructor(holder: Running) {
    this.holder = holder;
  }

  static async make(): Promise<Namespace> {
    const holder = startProgram('unshare', [
      '-n',
      'sh',
      '-c',
      'ip link set lo up && echo up && exec sleep 9999',
    ]);
    await until('a network namespace', () => {
      if (holder.child.exitCode !== null) throw new Error(`no network namespace: ${holder.stderr()}`);
      return holder.stdout().includes('up');
    });
    return new Namespace(holder);
  }

  /** The words of a command that runs another one in it. */
  command(...words: string[]): [string, ...string[]] {
    return ['nsenter', '-t', `${this.holder.pid}`, '-n', ...words];
  }

  /** Starts `node ARGS` in it. */
  startNode(...args: string[]): Running {
    const [program, ...rest] = this.command(process.execPath, ...args);
    return startProgram(program, rest);
  }

  /** Starts `portferry ARGS` in it. */
  startPortferry(...args: string[]): Running {
    return this.startNode(PROGRAM, ...args);
  }

  async close(): Promise<void> {
    await this.holder.kill('SIGKILL');
  }
}
