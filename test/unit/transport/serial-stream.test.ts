import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { dialSerial, parseSerialSocket, serveSerial } from '../../../shared/transport/serial.ts';
import { SerialStream } from '../../../shared/transport/serial-stream.ts';

const TIMES = { helloMs: 10, beatMs: 20, deadMs: 400 };
const NOTHING = Buffer.alloc(0);

/** Two ends of a serial port. `cut` of one end: what it writes is lost from then on. */
class PortEnd extends Duplex {
  other!: PortEnd;
  cut = false;
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (!this.cut) this.other.push(Buffer.from(chunk));
    setImmediate(done);
  }
}

function port(): [PortEnd, PortEnd] {
  const [a, b] = [new PortEnd(), new PortEnd()];
  a.other = b;
  b.other = a;
  return [a, b];
}

function session(end: Duplex, times = TIMES): Promise<SerialStream> {
  return new Promise((resolve) => {
    const stream: SerialStream = new SerialStream(end, NOTHING, () => resolve(stream), times);
  });
}

async function read(stream: Duplex, bytes: number): Promise<string> {
  for (;;) {
    const got = stream.read(bytes) as Buffer | null;
    if (got !== null) return got.toString();
    await once(stream, 'readable');
  }
}

describe('a stream over a serial port', () => {
  it('comes back on the same port when the other side is another one', async () => {
    const [vm, host] = port();
    const stop = new AbortController();
    const ends: string[] = [];
    const serving = serveSerial(
      vm,
      stop.signal,
      async (stream) => {
        stream.on('error', (error) => ends.push(error.message));
        stream.on('data', (chunk: Buffer) => stream.write(chunk));
        await once(stream, 'close').catch(() => {});
      },
      TIMES,
    );
    const first = await session(host);
    first.write('one');
    expect(await read(first, 3)).toBe('one');
    host.cut = true; // it dies without a word
    first.destroy();
    await once(first, 'close');
    while (host.writableLength > 0) await new Promise(setImmediate);
    host.cut = false;
    host.write('garbage \xf7pf');
    const second = await session(host);
    second.write('two');
    expect(await read(second, 3)).toBe('two');
    second.destroy(); // it says that it ends
    const third = await session(host);
    third.write('three');
    expect(await read(third, 5)).toBe('three');
    expect(ends).toEqual([
      expect.stringMatching(/began anew|lost or garbled/),
      expect.stringContaining('has ended the session'),
    ]);
    third.destroy();
    stop.abort();
    vm.destroy();
    await serving;
  });

  it('stays up while both sides have nothing to say, and ends when one falls silent', async () => {
    const [a, b] = port();
    const [near, far] = await Promise.all([session(a), session(b)]);
    await new Promise((resolve) => setTimeout(resolve, 2 * TIMES.deadMs));
    expect([near.destroyed, far.destroyed]).toEqual([false, false]);
    const over = once(near, 'error') as Promise<[Error]>;
    b.cut = true;
    const [error] = await over;
    expect(error.message).toContain('was silent for 0.4 s');
    far.destroy();
  });

  it('ends with the hypervisor, in the middle of a session', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
    const server = createServer({ allowHalfOpen: true }).listen(`${dir}/s`);
    await once(server, 'listening');
    const address = parseSerialSocket(`serial+unix://${dir}/s`);
    const taken = once(server, 'connection') as Promise<[Duplex]>;
    const quiet = { ...TIMES, beatMs: 60_000 };
    const dialled = dialSerial(address, new AbortController().signal, quiet);
    const [chardev] = await taken;
    const far = await session(chardev, quiet);
    const near = await dialled;
    near.write('x');
    expect(await read(far, 1)).toBe('x'); // all that was sent is read: no reset, but an end
    const over = once(near, 'error') as Promise<[Error]>;
    const closed = once(near, 'close').catch(() => {});
    far.on('error', () => {});
    chardev.destroy(); // killed: the last words of the other side find nobody (EPIPE)
    expect((await over)[0].message).toBe('the serial port was lost');
    await closed;
    await new Promise((resolve) => server.close(resolve));
    rmSync(dir, { recursive: true });
  });

  it('names a VM that does not answer', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
    const server = createServer((client) => client.resume().on('error', () => {})).listen(`${dir}/s`);
    await once(server, 'listening');
    const address = parseSerialSocket(`serial+unix://${dir}/s`);
    await expect(dialSerial(address, new AbortController().signal, TIMES, 50)).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('nobody in the VM answered on that serial port'),
    });
    server.close();
    rmSync(dir, { recursive: true });
  });

  it('names a hypervisor that is not there', async () => {
    const address = parseSerialSocket('serial+unix:///nonexistent/chardev');
    await expect(dialSerial(address, new AbortController().signal)).rejects.toMatchObject({
      code: 'NO_LINK',
      message: expect.stringContaining('there is no such socket'),
    });
  });
});
