import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dialHybrid, parseHybrid, parseHybridAnswer } from '../../../shared/transport/hybrid.ts';
import { readExactly } from '../../helpers/stream-client.ts';

describe('the answer to CONNECT', () => {
  it('is read in every split, with what stands behind it left alone', () => {
    const rest = fc.uint8Array({ maxLength: 8 });
    const ending = fc.constantFrom('\n', '\r\n');
    fc.assert(
      fc.property(fc.nat(), ending, rest, (port, end, behind) => {
        const line = Buffer.from(`OK ${port}${end}`);
        const bytes = Buffer.concat([line, behind]);
        for (let length = 0; length < line.length; length++)
          expect(parseHybridAnswer(bytes.subarray(0, length))).toBeUndefined();
        for (let length = line.length; length <= bytes.length; length++)
          expect(parseHybridAnswer(bytes.subarray(0, length))).toEqual({ value: port, used: line.length });
      }),
    );
  });

  it('is refused, or waited for at most 16 bytes long, when it is something else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 40 }), (bytes) => {
        const text = Buffer.from(bytes).toString('latin1');
        fc.pre(!/^OK \d{1,10}\r?\n/.test(text));
        expect(() => parseHybridAnswer(Buffer.from(bytes))).toThrow(/instead of "OK <port>"/);
      }),
    );
    for (const bad of ['X', 'OKAY', 'OK x', 'OK \n', 'OK 12345678901', 'HTTP/1.1 400'])
      expect(() => parseHybridAnswer(Buffer.from(bad))).toThrow(
        expect.objectContaining({ code: 'PROTOCOL' }),
      );
  });
});

describe('dialHybrid', () => {
  const never = new AbortController().signal;
  let dir: string;
  let close: () => void;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'portferry-'));
  });
  afterEach(() => {
    close?.();
    rmSync(dir, { recursive: true, force: true });
  });

  async function hypervisor(answer: (socket: Socket, request: string) => void) {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket.on('error', () => {}));
      socket.once('data', (request: Buffer) => answer(socket, request.toString()));
    });
    close = () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    };
    await new Promise<void>((resolve) => server.listen(join(dir, 's'), resolve));
    return parseHybrid(`hybrid://${dir}/s?port=1024`);
  }

  it('asks in one write, and keeps what comes with the answer', async () => {
    let asked = '';
    const address = await hypervisor((socket, request) => {
      asked = request;
      socket.write('OK 7\nfirst');
    });
    const stream = await dialHybrid(address, never);
    expect(asked).toBe('CONNECT 1024\n');
    expect((await readExactly(stream, 5)).toString()).toBe('first');
    stream.destroy();
  });

  it('names what is wrong', async () => {
    const address = await hypervisor((socket) => socket.destroy());
    await expect(dialHybrid(address, never)).rejects.toMatchObject({
      code: 'NO_LINK',
      message: expect.stringContaining('accepted, but nobody listens on port 1024 in the VM'),
    });
    close();
    const odd = await hypervisor((socket) => socket.write('220 mail ready\r\n'));
    await expect(dialHybrid(odd, never)).rejects.toMatchObject({
      code: 'PROTOCOL',
      message: expect.stringMatching(/220 mail.*is it the vsock socket of a hypervisor/),
    });
    close();
    const silent = await hypervisor(() => cancel.abort());
    const cancel = new AbortController();
    await expect(dialHybrid(silent, cancel.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
