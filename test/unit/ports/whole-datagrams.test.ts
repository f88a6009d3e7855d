/** macOS is simulated: each socket says that its send buffer has the size that they have there. */
import { createSocket, Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Limit } from '../../../shared/limit.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { reserveUdp } from '../../../shared/ports/reserve-udp.ts';
import { allowWholeDatagrams } from '../../../shared/ports/whole-datagrams.ts';
import { encodeFlowFrame } from '../../../shared/relay/udp-frame.ts';
import { serveDatagrams } from '../../../vm-shim/data/udp-exit.ts';
import { fakeEnd } from '../../helpers/fake-end.ts';

const ON_MACOS = 9_216;

let asked: number[];

beforeEach(() => {
  asked = [];
  vi.spyOn(Socket.prototype, 'getSendBufferSize').mockReturnValue(ON_MACOS);
  vi.spyOn(Socket.prototype, 'setSendBufferSize').mockImplementation((size) => void asked.push(size));
});
afterEach(() => {
  vi.restoreAllMocks();
});

it('a published port sends datagrams of every size', async () => {
  const reservation = await reserveUdp({ ip: '127.0.0.1', port: 0 });
  expect(asked).toEqual([65_535]);
  await reservation.close();
});

it('so does a flow to a container, from its first one on', async () => {
  const container = createSocket('udp4').bind(0, '127.0.0.1');
  await once(container, 'listening');
  const { end, handler } = fakeEnd();
  const log = silentLogger();
  const running = new Set<{ stop(): void }>();
  const counters = { bytesUp: 0, bytesDown: 0 };
  const limit = new Limit('flows', 10, log);
  const destination = { protocol: 'udp', ip: '127.0.0.1', port: container.address().port } as const;
  try {
    serveDatagrams(end, destination, { end, destination, udpFlows: true }, { limit, log, running, counters });
    const payload = Buffer.alloc(20_000, 7);
    for (const piece of encodeFlowFrame({ flow: 1, ended: false, addresses: undefined, payload })!)
      handler().data(piece);
    const [got] = (await once(container, 'message')) as [Buffer];
    expect(got.equals(payload)).toBe(true);
    expect(asked).toEqual([65_535]);
  } finally {
    handler().closed();
    container.close();
  }
});

it('a larger buffer stays as it is, and a refusal harms nobody', () => {
  const setSendBufferSize = vi.fn();
  allowWholeDatagrams({ getSendBufferSize: () => 212_992, setSendBufferSize });
  expect(setSendBufferSize).not.toHaveBeenCalled();
  const refuse = () => {
    throw new Error('ENOBUFS');
  };
  allowWholeDatagrams({ getSendBufferSize: () => ON_MACOS, setSendBufferSize: refuse });
});
