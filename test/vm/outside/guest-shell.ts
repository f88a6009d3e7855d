import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { until } from '../../helpers/processes.ts';
import { WAIT_MS } from '../cases.ts';
import { connectSoon } from '../monitor.ts';
import { ORDER_SECONDS, READY } from './guest-script.ts';

export interface Answer {
  readonly code: number;
  /** What the command wrote, the end of it where that was much. */
  readonly said: string;
}

/** How long the answer to an order may take, milliseconds. */
const ANSWER_MS = (ORDER_SECONDS + 30) * 1000;

interface Waiting {
  answered(answer: Answer): void;
  lost(why: Error): void;
}

/** Runs shell commands in a guest, one at a time, over the port of GUEST_SCRIPT. */
export class GuestShell {
  private readonly socket: Socket;
  private readonly waiting = new Map<string, Waiting>();
  private boots = 0;
  private last = 0;
  private gone = false;
  private readonly onSilent: (why: string) => void;

  private constructor(socket: Socket, onSilent: (why: string) => void) {
    this.socket = socket;
    this.onSilent = onSilent;
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      this.gone = true;
      this.loseAll('the guest is gone');
    });
    const lines = createInterface({ input: socket });
    lines.on('error', () => {}); // those of the socket
    lines.on('line', (line) => this.take(line));
  }

  /**
   * @param path of the chardev's socket, which QEMU is about to make
   * @param onSilent called when an order is not answered, not even with how it was killed: no other one will be
   */
  static async connect(path: string, onSilent: (why: string) => void): Promise<GuestShell> {
    return new GuestShell(await connectSoon(path), onSilent);
  }

  /** Waits until the guest has booted so many times. */
  async booted(times: number): Promise<void> {
    await until(
      'the guest to boot',
      () => {
        if (this.gone) throw new Error('the guest ended while it booted');
        return this.boots >= times;
      },
      WAIT_MS,
    );
  }

  /** What is started in the background has to have its output elsewhere. */
  run(command: string): Promise<Answer> {
    const id = `${++this.last}`;
    return new Promise((answered, lost) => {
      if (this.gone) return lost(new Error('the guest is gone'));
      const late = `it has not answered "${command.slice(0, 80)}" within ${ANSWER_MS / 1000} s`;
      const timer = setTimeout(this.onSilent, ANSWER_MS, late);
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          settle(value);
        };
      this.waiting.set(id, { answered: settled(answered), lost: settled(lost) });
      this.socket.write(`${id} ${Buffer.from(command).toString('base64')}\n`);
    });
  }

  /** @returns what it said @throws with that when it fails */
  async must(command: string): Promise<string> {
    const { code, said } = await this.run(command);
    if (code !== 0) throw new Error(`in the guest "${command}" failed with ${code}: ${said}`);
    return said;
  }

  /** Reboots, as if a button had been pressed; resolves when it takes orders again. */
  async reboot(): Promise<void> {
    const times = this.boots + 1;
    this.run('sync; reboot -f').catch(() => {});
    await this.booted(times);
  }

  private take(line: string): void {
    if (line === READY) {
      this.boots++;
      return this.loseAll('the guest has rebooted');
    }
    const [id, status, said] = line.split(' ') as [string, string, string];
    this.waiting
      .get(id)
      ?.answered({ code: Number(status), said: Buffer.from(said, 'base64').toString().trim() });
    this.waiting.delete(id);
  }

  private loseAll(why: string): void {
    for (const { lost } of this.waiting.values()) lost(new Error(why));
    this.waiting.clear();
  }
}
