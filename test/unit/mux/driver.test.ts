import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { MuxDriver } from '../../../shared/mux/driver.ts';
import { MuxSession } from '../../../shared/mux/session.ts';
import { WINDOW_SIZES } from '../../../shared/mux/window.ts';
import { ALL_EXTENSIONS } from '../../helpers/mux-pair.ts';
import { duplexPair } from '../p9/duplex-pair.ts';

const MESSAGES = 100;
const BYTES = 10_000;

function sideOf(
  stream: ReturnType<typeof duplexPair>[0],
  ids: 'up' | 'down',
  heard: (bytes: number) => void,
) {
  const driver: MuxDriver = new MuxDriver(stream, () => {});
  const options = { ids, extensions: ALL_EXTENSIONS, windows: WINDOW_SIZES, maxChannels: 1 };
  const session: MuxSession = new MuxSession(options, {
    open() {},
    control: (payload) => heard(payload.length),
    streamReset() {},
    writable: () => driver.schedule(),
  });
  driver.start(session);
  return { driver, session };
}

it('a driver that is held reads no more than what is on its way, and goes on afterwards', async () => {
  const [near, far] = duplexPair();
  let heard = 0;
  const { driver } = sideOf(near, 'up', (bytes) => {
    heard += bytes;
    driver.hold(true);
  });
  const peer = sideOf(far, 'down', () => {});
  for (let i = 0; i < MESSAGES; i++) peer.session.sendControl(Buffer.alloc(BYTES, i));
  for (let i = 0; i < 50; i++) await turn();
  expect(heard).toBeGreaterThan(0);
  expect(heard).toBeLessThan((MESSAGES * BYTES) / 2);
  while (heard < MESSAGES * BYTES) {
    const before = heard;
    driver.hold(false);
    for (let i = 0; i < 50 && heard === before; i++) await turn();
    expect(heard).toBeGreaterThan(before);
  }
  expect(heard).toBe(MESSAGES * BYTES);
});
