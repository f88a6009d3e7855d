import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Result } from './load/client.ts';
import { GRACE_MS } from './load/run-until.ts';
import type { Figures, Task } from './load/tasks.ts';

const CLIENT = fileURLToPath(new URL('./load/client.js', import.meta.url));

/** The process that makes load. It stays over all peers, so that its code is warm for each of them. */
export class LoadClient {
  /** The driver that it found. */
  driver = '';
  private child: ChildProcess | undefined;
  private stopped = false;

  /** @throws Error with what went wrong; after a silence the process is another one */
  async run(task: Task): Promise<Figures> {
    const child = await this.running();
    const seconds = 'seconds' in task ? task.seconds : 10;
    child.send(task);
    const result = await answer(child, seconds * 1000 + 2 * GRACE_MS).catch(async (error: unknown) => {
      await this.close();
      throw error;
    });
    if (result.type === 'figures') return result.figures;
    throw new Error(result.type === 'failed' ? result.why : 'the load client answers out of turn');
  }

  /** Ends it for good: what it is doing fails, and what it is still asked for too. */
  stop(): Promise<void> {
    this.stopped = true;
    return this.close();
  }

  async close(): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  private async running(): Promise<ChildProcess> {
    if (this.stopped) throw new Error('interrupted');
    if (this.child !== undefined) return this.child;
    const child = fork(CLIENT, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.child = child;
    process.once('exit', () => child.kill('SIGKILL'));
    const ready = await answer(child, 2 * GRACE_MS);
    if (ready.type === 'ready') this.driver = ready.driver;
    return child;
  }
}

function answer(child: ChildProcess, limitMs: number): Promise<Result> {
  return new Promise((resolve, reject) => {
    const over = (settle: () => void) => {
      clearTimeout(timer);
      child.off('message', heard);
      child.off('exit', gone);
      settle();
    };
    const heard = (result: unknown) => over(() => resolve(result as Result));
    const gone = () => over(() => reject(new Error('the load client has ended')));
    const timer = setTimeout(() => over(() => reject(new Error('the load client is silent'))), limitMs);
    child.once('message', heard);
    child.once('exit', gone);
  });
}
