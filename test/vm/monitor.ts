import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { until } from '../helpers/processes.ts';

interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

/** Tells a QEMU what to do with its guest: its machine protocol (QEMU, docs/interop/qmp-spec.txt). */
export class Monitor {
  private readonly socket: Socket;
  private readonly waiting: Array<{ answered(answer: Answer): void; lost(why: Error): void }> = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      for (const { lost } of this.waiting.splice(0)) lost(new Error('QEMU is gone'));
    });
    const lines = createInterface({ input: socket });
    lines.on('error', () => {}); // those of the socket
    lines.on('line', (line) => {
      const message = JSON.parse(line) as Answer & { readonly QMP?: object; readonly event?: string };
      if (message.QMP === undefined && message.event === undefined) this.waiting.shift()?.answered(message);
    });
  }

  /** @param path of the socket, which QEMU is about to make */
  static async connect(path: string): Promise<Monitor> {
    const socket = await connectSoon(path);
    const monitor = new Monitor(socket);
    await monitor.execute('qmp_capabilities');
    return monitor;
  }

  /** The guest's processors and its clock stand still; nothing of it is lost. */
  async pause(): Promise<void> {
    await this.execute('stop');
  }

  async resume(): Promise<void> {
    await this.execute('cont');
  }

  /** @returns what the guest does: whether it runs, and the registers of its processors that say where */
  async processors(): Promise<string> {
    const said = `${await this.command('info status')}${await this.command('info registers -a')}`;
    return said
      .split('\n')
      .filter((line) => /^(VM status|CPU#|RIP=|R[BS]P=|.* RSP=)/.test(line))
      .join('\n');
  }

  /** Saves memory, devices and the disk into the disk's image, under a name. The guest stands still meanwhile. */
  async save(name: string): Promise<void> {
    const said = await this.command(`savevm ${name}`);
    if (said !== '') throw new Error(`QEMU does not save the guest: ${said}`);
  }

  private async command(line: string): Promise<string> {
    return (await this.execute('human-monitor-command', { 'command-line': line })) as string;
  }

  private async execute(command: string, words: object = {}): Promise<unknown> {
    const { error, return: result } = await new Promise<Answer>((answered, lost) => {
      if (this.socket.destroyed) return lost(new Error('QEMU is gone'));
      this.waiting.push({ answered, lost });
      this.socket.write(`${JSON.stringify({ execute: command, arguments: words })}\n`);
    });
    if (error !== undefined) throw new Error(`QEMU refuses ${command}: ${error.desc}`);
    return result;
  }
}

/** Connects to a unix socket that is about to be there. */
export function connectSoon(path: string): Promise<Socket> {
  return until('QEMU to listen', async () => {
    const attempt = connect(path);
    return once(attempt, 'connect').then(
      () => attempt,
      () => undefined,
    );
  });
}
