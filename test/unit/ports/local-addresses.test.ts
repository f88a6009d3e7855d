import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { followAddresses, localAddresses } from '../../../shared/ports/local-addresses.ts';

const rest = { netmask: '', mac: '', internal: false, cidr: null };
const interfaces = () => ({
  lo: [
    { ...rest, family: 'IPv4' as const, address: '127.0.0.1' },
    { ...rest, family: 'IPv6' as const, address: '::1', scopeid: 0 },
  ],
  eth0: [
    { ...rest, family: 'IPv4' as const, address: '10.0.0.1' },
    { ...rest, family: 'IPv6' as const, address: 'fe80::1', scopeid: 7 },
    { ...rest, family: 'IPv6' as const, address: 'fd00::1', scopeid: 0 },
  ],
  eth1: [
    { ...rest, family: 'IPv4' as const, address: '10.0.0.1' },
    { ...rest, family: 'IPv6' as const, address: 'fe80::1', scopeid: 8 },
  ],
});

describe('local addresses', () => {
  it('are listed by family, once each, link-local ones with their zone', () => {
    expect(localAddresses(4, 'name', interfaces)).toEqual(['127.0.0.1', '10.0.0.1']);
    expect(localAddresses(6, 'name', interfaces)).toEqual(['::1', 'fe80::1%eth0', 'fd00::1', 'fe80::1%eth1']);
    expect(localAddresses(6, 'number', interfaces)).toEqual(['::1', 'fe80::1%7', 'fd00::1', 'fe80::1%8']);
  });

  it.each([
    ['win32', 'fe80::1%7'],
    ['linux', 'fe80::1%eth0'],
    ['darwin', 'fe80::1%eth0'],
  ])('on %s name the interface of %s as that system does', (platform, address) => {
    const here = process.platform;
    Object.defineProperty(process, 'platform', { value: platform });
    try {
      expect(localAddresses(6, undefined, interfaces)).toContain(address);
    } finally {
      Object.defineProperty(process, 'platform', { value: here });
    }
  });

  it('of this machine have loopback among them', () => expect(localAddresses(4)).toContain('127.0.0.1'));
});

describe('following', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function follow(known: string[], source: () => string[], accept: (address: string) => Promise<boolean>) {
    const events: string[] = [];
    const follower = followAddresses({
      source,
      known,
      added: (address) => {
        events.push(`+${address}`);
        return accept(address);
      },
      removed: (address) => events.push(`-${address}`),
    });
    const wait = async (ms: number) => {
      await vi.advanceTimersByTimeAsync(ms);
      return events.splice(0);
    };
    return { follower, wait };
  }

  it('tells what comes and goes, every 2 s', async () => {
    let list = ['a', 'b'];
    const { wait } = follow(
      ['a', 'b'],
      () => list,
      async () => true,
    );
    expect(await wait(4_000)).toEqual([]);
    list = ['b', 'c'];
    expect(await wait(1_999)).toEqual([]);
    expect(await wait(1)).toEqual(['-a', '+c']);
    expect(await wait(10_000)).toEqual([]);
    list = ['a', 'b', 'c'];
    expect(await wait(2_000)).toEqual(['+a']);
  });

  it('offers again what was not taken, never twice at once', async () => {
    let finish = (_taken: boolean) => {};
    const { wait } = follow(
      [],
      () => ['a'],
      () =>
        new Promise((resolve) => {
          finish = resolve;
        }),
    );
    expect(await wait(6_000)).toEqual(['+a']);
    finish(false);
    expect(await wait(2_000)).toEqual(['+a']);
    finish(true);
    expect(await wait(6_000)).toEqual([]);
  });

  it('a source that fails takes nothing away, and one that throws while adding is asked again', async () => {
    let fail = true;
    const { wait } = follow(
      ['a'],
      () => {
        if (fail) throw new Error('no list');
        return ['a', 'b'];
      },
      () => Promise.reject(new Error('no')),
    );
    expect(await wait(4_000)).toEqual([]);
    fail = false;
    expect(await wait(4_000)).toEqual(['+b', '+b']);
  });

  it('stops', async () => {
    const { follower, wait } = follow(
      [],
      () => ['a'],
      async () => false,
    );
    follower.stop();
    follower.poll();
    expect(await wait(10_000)).toEqual([]);
  });
});
