import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ReverseForwards } from '../../../host-agent/control/reverse-forwards.ts';
import { VmLink, type VmLinkOptions } from '../../../host-agent/control/vm-link.ts';
import { encodeHello } from '../../../shared/control-codec.ts';
import { establishLink } from '../../../shared/link/establish.ts';
import { encodeHandshake } from '../../../shared/link/handshake.ts';
import { LinkIdentity } from '../../../shared/link/identity.ts';
import { silentLogger } from '../../../shared/logger.ts';

const log = silentLogger();
const { signal } = new AbortController();
const sockets: Socket[] = [];
afterEach(() => {
  vi.useRealTimers();
  for (const socket of sockets.splice(0)) socket.destroy();
});

async function pair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1' });
  const [far] = (await once(server, 'connection')) as [Socket];
  server.close();
  sockets.push(near, far);
  return [near, far];
}

const vmLink = (more: Partial<VmLinkOptions> = {}) =>
  new VmLink({
    name: 'test',
    identity: new LinkIdentity('host'),
    legacyPeer: false,
    lane: 'auto',
    log,
    signal,
    ...more,
  });
const opener = {
  traits: { manyStreams: true, halfClose: true, whoDials: 'host' as const },
  dial: () => Promise.reject(new Error('unused')),
};

/** The other side of a link, in this process. */
function shim(stream: Socket, identity = new LinkIdentity('shim')) {
  return establishLink(stream, {
    identity,
    dialled: false,
    legacyPeer: false,
    log,
    signal,
    onChannel: () => {},
    onStreamReset: () => {},
  });
}

describe('VmLink', () => {
  it('is up from hello to loss, and hands the key of its streams to the shim', async () => {
    const vm = vmLink();
    const [near, far] = await pair();
    const [link, other] = await Promise.all([vm.establish(near, true, opener), shim(far)]);
    const served = vm.serve(link, opener);
    expect(vm.up).toBe(true);
    const active = await vm.whenUp(signal);
    expect(active.lane).toBe('dedicated');
    expect(active.link.streamKey).toEqual(other.streamKey);
    expect(active.nextStreamId()).not.toBe(active.nextStreamId());
    other.close();
    await served;
    expect(vm.up).toBe(false);
  });

  it('lets who asks wait for a link that comes', async () => {
    const vm = vmLink();
    const waiting = vm.whenUp(signal);
    const [near, far] = await pair();
    const [link] = await Promise.all([vm.establish(near, true, opener), shim(far)]);
    void vm.serve(link, opener);
    expect((await waiting).link).toBe(link);
  });

  it('gives up waiting after 5 s, saying what to look at, or when it is cancelled', async () => {
    vi.useFakeTimers();
    const vm = vmLink();
    const refused = expect(vm.whenUp(signal)).rejects.toMatchObject({
      code: 'NO_LINK',
      message: expect.stringMatching(/VM "test" for 5 s: is portferry vm-shim running/),
    });
    vi.advanceTimersByTime(5_000);
    await refused;
    await expect(vm.whenUp(AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('a newer link takes the place of the older; a new instance of the shim gets streams of its own', async () => {
    const vm = vmLink();
    const same = new LinkIdentity('shim');
    const seen = [];
    for (const identity of [same, same, new LinkIdentity('shim')]) {
      const [near, far] = await pair();
      const [link, other] = await Promise.all([vm.establish(near, true, opener), shim(far, identity)]);
      void vm.serve(link, opener);
      seen.push({ streams: (await vm.whenUp(signal)).streams, other });
    }
    expect(seen[1]!.streams).toBe(seen[0]!.streams);
    expect(seen[2]!.streams).not.toBe(seen[0]!.streams);
    expect(await seen[0]!.streams.confirmEnd()).toBe(false); // that instance is dead
    await seen[0]!.other.closed;
    expect(vm.up).toBe(true);
  });

  it('says that two shims take the link from each other, but not that one was started anew', async () => {
    const vm = vmLink();
    const [one, two] = [new LinkIdentity('shim'), new LinkIdentity('shim')];
    const links = [];
    for (const identity of [one, one, two, one, two, new LinkIdentity('shim')]) {
      const [near, far] = await pair();
      const [link] = await Promise.all([vm.establish(near, true, opener), shim(far, identity)]);
      void vm.serve(link, opener);
      links.push(link);
    }
    const ends = await Promise.all(links.slice(0, -1).map(({ closed }) => closed));
    const plain = 'a newer link has taken its place';
    const hint = `${plain}, of a VM shim whose place it had taken: two of them use this URL`;
    expect(ends.map(({ message }) => message)).toEqual([plain, plain, hint, hint, plain]);
  });

  it.each(['reverse', 'dedicated,spare-streams'])(
    'a peer that lists %s without control is served without, and is seen to go',
    async (listed) => {
      const vm = vmLink({ reverse: new ReverseForwards({ vm: 'test', log } as never) });
      const [near, far] = await pair();
      const features = listed.split(',');
      far.resume().write(encodeHandshake(encodeHello({ ...new LinkIdentity('shim').nextHello(), features })));
      const vmDials = { ...opener, traits: { ...opener.traits, whoDials: 'vm' as const } };
      const served = vm.serve(await vm.establish(near, true, vmDials), vmDials);
      expect([vm.up, vm.lane]).toEqual([true, 'multiplexed']);
      far.destroy();
      await served;
      expect(vm.up).toBe(false);
    },
  );

  it('refuses another host agent, and a peer without a hello unless told to take it', async () => {
    const [near, far] = await pair();
    const both = await Promise.allSettled([
      vmLink().establish(near, true, opener),
      vmLink().establish(far, false, opener),
    ]);
    expect(both.map((each) => each.status)).toEqual(['rejected', 'rejected']);
    expect(String((both[0] as PromiseRejectedResult).reason)).toMatch(/both sides are a host agent/);

    const empty = 'https://github.com/moby/vpnkit multiplexer protocol\n\0\0';
    const [strict, vpnkit] = await pair();
    vpnkit.write(empty);
    await expect(vmLink().establish(strict, true, opener)).rejects.toThrow(/--legacy-peer lets it in/);

    const [lenient, again] = await pair();
    again.write(empty);
    const link = await vmLink({ legacyPeer: true }).establish(lenient, true, opener);
    expect(link.peer).toBeUndefined();
    link.close();
  });
});
