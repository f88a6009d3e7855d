import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../portferry.js', import.meta.url));
/** What is kept of a program's log, characters. */
const KEPT_LOG = 16 * 1024;
const TAIL_LINES = 20;
/** How long a program may take to end when it is asked to, milliseconds. */
const STOP_MS = 10_000;

/** A portferry in a process of its own. */
export class Program {
  readonly name: string;
  /** Resolves with how it ended, when it has. */
  readonly ended: Promise<string>;
  private readonly child: ChildProcess;
  private log = '';

  /** Starts `portferry NAME ARGS`. */
  constructor(name: string, ...args: string[]) {
    this.name = name;
    // In a process group of its own: a terminal's Ctrl-C is for the demo, which then ends its children in order.
    const child = spawn(process.execPath, [PROGRAM, name, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      windowsHide: true,
    });
    for (const output of [child.stdout, child.stderr]) {
      output.setEncoding('utf8').on('data', (text: string) => {
        this.log = (this.log + text).slice(-KEPT_LOG);
      });
    }
    this.child = child;
    this.ended = new Promise((resolve) => {
      child.on('error', (error) => resolve(`could not be started: ${error.message}`));
      child.on('close', (code, signal) =>
        resolve(signal === null ? `exited with ${code}` : `died of ${signal}`),
      );
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** The last lines that it logged. */
  tail(): string {
    return this.log.trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
  }

  /** The engine that it said it uses; undefined when it has said nothing about that yet. */
  get engine(): string | undefined {
    return /"engine":"(\w+)"/.exec(this.log)?.[1];
  }

  /** Asks it to end, and makes it end when it does not. */
  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    await this.ended;
    clearTimeout(timer);
  }
}
