import { type ProcessGroup, type Running, until } from '../helpers/processes.ts';

/** How long one attempt to claim may take on a busy machine, milliseconds: the program's own limit is 10 s. */
const ATTEMPT_MS = 30_000;

/** One `portferry claim` as a supervisor keeps it: started again, for the same port, whenever it has ended. */
export class Claimer {
  readonly spec: string;
  private readonly group: ProcessGroup;
  private readonly control: string;
  private process: Running | undefined;

  /** @param control URL of the tree */
  constructor(group: ProcessGroup, control: string, spec: string) {
    this.group = group;
    this.control = control;
    this.spec = spec;
  }

  get alive(): boolean {
    const child = this.process?.child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  get pid(): number | undefined {
    return this.process?.pid;
  }

  /** It has said that its port is published. */
  get answered(): boolean {
    return this.alive && this.process!.stdout().includes('\n');
  }

  start(): void {
    this.process = this.group.start('claim', this.spec, '--control', this.control);
  }

  /** Resolves when the process has answered or ended. */
  async settled(): Promise<void> {
    await until(`claim ${this.spec} to answer`, () => this.answered || !this.alive, ATTEMPT_MS);
  }

  /** Starts it as often as it takes until it has answered. @throws Error behind the deadline (as Date.now()) */
  async keep(deadline: number): Promise<void> {
    for (;;) {
      if (!this.alive) this.start();
      await this.settled();
      if (this.answered) return;
      if (Date.now() > deadline) throw new Error(`claim ${this.spec}: ${this.process!.stderr().trim()}`);
    }
  }

  /** Resolves with its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | undefined> {
    return this.process?.kill(signal);
  }
}
