import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HOLD_MS, PeerStreams } from '../../../shared/link/peer-streams.ts';

const link = () => ({
  sent: [] as Array<[number, number]>,
  sendStreamReset(id: number, errno: number) {
    this.sent.push([id, errno]);
  },
});

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** Lets promises and the two turns of the event loop pass. */
const settle = async () => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe('PeerStreams', () => {
  it('hands a reset to its stream, once', () => {
    const streams = new PeerStreams();
    const seen: number[] = [];
    expect(streams.add(5, (errno) => seen.push(errno))).toBeUndefined();
    streams.remoteReset(5, 104);
    streams.remoteReset(5, 104);
    expect(seen).toEqual([104]);
    expect(streams.size).toBe(0);
  });

  it('keeps a reset that overtook its stream', () => {
    const streams = new PeerStreams();
    streams.remoteReset(9, 104);
    expect(streams.add(9, () => {})).toBe(104);
    expect(streams.size).toBe(0);
  });

  it('keeps no more than 1,024 such resets', () => {
    const streams = new PeerStreams();
    for (let id = 0; id < 2_000; id++) streams.remoteReset(id, 1);
    expect(streams.add(0, () => {})).toBeUndefined();
    expect(streams.add(1_999, () => {})).toBe(1);
  });

  it('believes an end while the link is up', async () => {
    const streams = new PeerStreams();
    streams.linkUp(link());
    expect(await streams.confirmEnd()).toBe(true);
  });

  it('believes an end when the peer has answered behind it, and not before', async () => {
    const streams = new PeerStreams();
    let answer: (alive: boolean) => void = () => {};
    const askWhetherAlive = () => new Promise<boolean>((resolve) => (answer = resolve));
    streams.linkUp({ ...link(), askWhetherAlive });
    let verdict: boolean | undefined;
    void streams.confirmEnd().then((trueEnd) => {
      verdict = trueEnd;
    });
    await settle();
    expect(verdict).toBeUndefined();
    answer(true);
    await settle();
    expect(verdict).toBe(true);
  });

  it('does not believe an end when the link goes down before the peer has answered', async () => {
    const streams = new PeerStreams();
    let answer: (alive: boolean) => void = () => {};
    streams.linkUp({
      ...link(),
      askWhetherAlive: () => new Promise<boolean>((resolve) => (answer = resolve)),
    });
    const verdict = streams.confirmEnd();
    await settle();
    answer(false);
    streams.linkDown();
    await settle();
    vi.advanceTimersByTime(HOLD_MS);
    expect(await verdict).toBe(false);
  });

  it('does not believe an end when the link goes down in the same moment', async () => {
    const streams = new PeerStreams();
    streams.linkUp(link());
    const verdict = streams.confirmEnd();
    streams.linkDown();
    await settle();
    vi.advanceTimersByTime(HOLD_MS);
    expect(await verdict).toBe(false);
  });

  it('believes it when the same instance comes back, and not when it is replaced', async () => {
    const back = new PeerStreams();
    const first = back.confirmEnd();
    await settle();
    back.linkUp(link());
    expect(await first).toBe(true);

    const replaced = new PeerStreams();
    const second = replaced.confirmEnd();
    await settle();
    replaced.end();
    expect(await second).toBe(false);
    expect(await replaced.confirmEnd()).toBe(false);
  });

  it('does not believe it when the link broke a moment ago, but when it has been down for longer', async () => {
    const streams = new PeerStreams();
    streams.linkUp(link());
    streams.linkDown();
    expect(await streams.confirmEnd()).toBe(false);
    vi.advanceTimersByTime(1_000);
    const later = streams.confirmEnd();
    await settle();
    streams.linkUp(link());
    expect(await later).toBe(true);
  });

  it('says an abort at once, or when the link is back, or gives up', async () => {
    const streams = new PeerStreams();
    const now = link();
    streams.linkUp(now);
    expect(await streams.announceReset(1, 104)).toBe(true);
    expect(now.sent).toEqual([[1, 104]]);

    streams.linkDown();
    const later = link();
    const said = streams.announceReset(2, 32);
    streams.linkUp(later);
    expect(await said).toBe(true);
    expect(later.sent).toEqual([[2, 32]]);

    streams.linkDown();
    const never = streams.announceReset(3, 1);
    vi.advanceTimersByTime(HOLD_MS);
    expect(await never).toBe(false);
  });
});
