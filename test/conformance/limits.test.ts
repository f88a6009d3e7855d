/** Limits of connections hold exactly, whichever thread of the host agent accepts, and slots come back. */
import { afterEach, describe, expect, it } from 'vitest';
import { callApi } from '../helpers/api.ts';
import { engines } from '../helpers/engines.ts';
import { hostPort, loopback, until } from '../helpers/processes.ts';
import { roundTrip } from '../helpers/stream-client.ts';
import { answered, CLIENTS, PLENTY, Stage } from '../helpers/two-vm-stage.ts';
import { udpEcho, udpPeer } from '../helpers/udp-peer.ts';

const LIMIT = 5;

let stage: Stage | undefined;

afterEach(async () => {
  await stage?.close();
  stage = undefined;
});

describe.each(engines)('on the %s engine', (engine) => {
  it.each([
    ['a forward', { connectionsPerForward: LIMIT }, [0], [1]],
    ['a VM', { connectionsPerVm: LIMIT }, [0, 1], [2]],
    ['all', { connections: LIMIT }, [0, 1, 2], []],
  ] as const)('connections of %s', async (_what, limit, limited, others) => {
    stage = await Stage.set(engine, { ...PLENTY, ...limit });
    const { ports } = stage;
    const crowded = limited.map((index) => ports[index]!);
    const served = await stage.fill(crowded);
    expect([served.length, stage.most, await stage.sum('active')]).toEqual([LIMIT, LIMIT, LIMIT]);
    expect(await stage.sum('refused_by_limit')).toBe(CLIENTS - LIMIT);
    expect(await stage.sum('resets')).toBe(CLIENTS - LIMIT);
    for (const index of others) expect(await roundTrip(ports[index]!, 'not concerned')).toBe('not concerned');

    await stage.quiet();
    stage.most = 0;
    expect((await stage.fill(crowded)).length).toBe(LIMIT);
    expect(stage.most).toBe(LIMIT);
  });
});

describe.each(engines)('the policy of a VM, as it is now, on the %s engine', (engine) => {
  it('limits its connections', async () => {
    stage = await Stage.set(engine, PLENTY);
    const [first, second, other] = stage.ports;
    await stage.enforce('[vm.a.policy]', 'max-connections = 3');
    expect((await stage.fill([first!, second!])).length).toBe(3);
    expect(await roundTrip(other!, 'not concerned')).toBe('not concerned');
    await stage.quiet();
    await stage.enforce('[vm.a.policy]');
    expect((await stage.fill([first!, second!])).length).toBe(CLIENTS);
  });

  it('limits its new connections a second', async () => {
    stage = await Stage.set(engine, PLENTY);
    const [first, second, other] = stage.ports;
    await stage.enforce('[vm.a.policy]', 'new-connections-per-second = 1');
    const began = performance.now();
    const served = (await stage.fill([first!, second!])).length;
    const seconds = (performance.now() - began) / 1_000;
    expect(served).toBeGreaterThan(0);
    expect(served).toBeLessThanOrEqual(2 + seconds);
    expect(await stage.sum('refused_by_limit')).toBe(CLIENTS - served);
    expect(await roundTrip(other!, 'not concerned')).toBe('not concerned');
  });

  it('limits its UDP flows, but lets each forward have one', async () => {
    stage = await Stage.set(engine, PLENTY);
    await stage.enforce('[vm.a.policy]', 'max-flows = 2');
    const container = await udpEcho();
    const clients = await Promise.all(Array.from({ length: 4 }, () => udpPeer()));
    try {
      const [first, second] = [
        await stage.expose(loopback('udp', container.port)),
        await stage.expose(loopback('udp', container.port)),
      ];
      for (const client of clients.slice(0, 3)) await answered(client, hostPort(first!));
      expect(await stage.statsOf(first!)).toMatchObject({ flows: 2, flows_created: 3, flows_evicted: 1 });
      await answered(clients[3]!, hostPort(second!));
      await answered(clients[2]!, hostPort(second!));
      expect(await stage.statsOf(second!)).toMatchObject({ flows: 1, flows_created: 2, flows_evicted: 1 });
      await callApi(stage.api, 'DELETE', { spec: first });
      await answered(clients[0]!, hostPort(second!));
      expect(await stage.statsOf(second!)).toMatchObject({ flows: 2, flows_evicted: 1 });
    } finally {
      await Promise.all([container, ...clients].map((each) => each.close()));
    }
  });
});

describe.skipIf(!engines.includes('linux'))('slots', () => {
  it('come back when a worker dies with its connections', async () => {
    stage = await Stage.set('linux', { ...PLENTY, connectionsPerVm: LIMIT });
    const { agent, ports } = stage;
    const crowded = [ports[0]!, ports[1]!];
    for (let index = 0; index < 3; index++) {
      expect((await stage.fill(crowded)).length).toBe(LIMIT);
      const dying = agent.threads!.threads[index]!;
      await dying.terminate();
      await until('another worker', () => {
        const { threads } = agent.threads!;
        return threads.length === 3 && !threads.includes(dying);
      });
      await stage.quiet();
    }
    stage.most = 0;
    expect((await stage.fill(crowded)).length).toBe(LIMIT);
    expect(stage.most).toBe(LIMIT);
  });
});
