import { randomBytes } from 'node:crypto';
import { afterEach, expect, it } from 'vitest';
import { callApi } from '../../helpers/api.ts';
import { lastingPort } from '../../helpers/lasting-port.ts';
import { descriptorCount, NO_PROC } from '../../helpers/process-figures.ts';
import { hostPort, loopback, until } from '../../helpers/processes.ts';
import { type UdpPeer, udpEcho, udpPeer } from '../../helpers/udp-peer.ts';
import type { Carrier } from './carrier.ts';

const MAX_FLOWS = 1_024;
/** Few enough datagrams at a time that no kernel buffer on the way is full. */
const BATCH = 50;

export function datagrams(carrier: Carrier): void {
  let open: UdpPeer[] = [];
  let exposed: string[] = [];

  afterEach(async () => {
    await Promise.all(open.map((peer) => peer.close()));
    open = [];
    for (const spec of exposed) await callApi(carrier.pair.api, 'DELETE', { spec });
    exposed = [];
  });

  const track = async (peer: Promise<UdpPeer>): Promise<UdpPeer> => {
    open.push(await peer);
    return peer;
  };

  const publish = async (containerPort: number): Promise<{ spec: string; port: number }> => {
    const published = await carrier.pair.expose(loopback('udp', containerPort));
    exposed.push(published.spec);
    return published;
  };

  /** Sends until an answer comes: a datagram that finds nobody, or no link, is lost. */
  const untilAnswered = async (client: UdpPeer, port: number, text: string): Promise<void> => {
    const payload = Buffer.from(text);
    let looks = 0;
    await until(`an answer to ${text}`, () => {
      if (looks++ % 10 === 0) client.send(payload, port);
      return client.received.some((answer) => answer.equals(payload));
    });
    // Answers to further copies may be on the way: an echo of its own marks where they end.
    const mark = Buffer.from(`mark behind ${text}`);
    client.send(mark, port);
    await until('the mark', () => client.received.some((answer) => answer.equals(mark)));
    client.received.length = 0;
  };

  it('datagrams of 0 to 65,507 bytes come and go intact', async () => {
    const { port } = await publish((await track(udpEcho())).port);
    const client = await track(udpPeer());
    for (const size of [0, 1, 1_472, 9_000, 65_507]) {
      const payload = randomBytes(size);
      client.send(payload, port);
      const answer = await until(`the answer of ${size} bytes`, () => client.received.shift());
      expect(answer.equals(payload)).toBe(true);
    }
    expect(client.received).toEqual([]);
  });

  it('a burst of many sizes arrives datagram for datagram', async () => {
    const { spec, port } = await publish((await track(udpEcho())).port);
    const client = await track(udpPeer());
    await untilAnswered(client, port, 'warm');
    const before = await carrier.pair.stats(spec);
    const sizes = Array.from({ length: BATCH }, (_, i) => [0, 1, 2, 512, 1_472, 333][i % 6]! + (i % 3));
    for (let round = 0; round < 10; round++) {
      const sent = sizes.map((size, i) => Buffer.alloc(size, round * 50 + i));
      for (const payload of sent) client.send(payload, port);
      await until('all answers', () => client.received.length >= sent.length);
      expect(client.received.splice(0)).toEqual(sent);
    }
    const after = await carrier.pair.stats(spec);
    expect(after.datagrams_up! - before.datagrams_up!).toBe(10 * BATCH);
    expect(after.datagrams_down! - before.datagrams_down!).toBe(10 * BATCH);
    expect(after).toMatchObject({ flows: 1, dropped: 0, send_errors: 0 });
  });

  it('200 clients each get their own answers', async () => {
    const { spec, port } = await publish((await track(udpEcho())).port);
    const clients = await Promise.all(Array.from({ length: 200 }, () => track(udpPeer())));
    await untilAnswered(clients[0]!, port, 'warm');
    for (let round = 0; round < 3; round++) {
      for (let from = 0; from < clients.length; from += BATCH) {
        const batch = clients.slice(from, from + BATCH);
        for (const [i, client] of batch.entries())
          client.send(Buffer.from(`round ${round} client ${from + i}`), port);
        await until('the answers', () => batch.every(({ received }) => received.length > round));
      }
    }
    const texts = clients.map(({ received }) => received.map(String));
    expect(texts).toEqual(clients.map((_, i) => [0, 1, 2].map((round) => `round ${round} client ${i}`)));
    expect((await carrier.pair.stats(spec)).flows).toBe(200);
  });

  it('a container port that is closed harms no other flow, and is served once it opens', async () => {
    const gone = await lastingPort();
    const healthy = await publish((await track(udpEcho())).port);
    const closed = await publish(gone);
    const one = await track(udpPeer());
    const two = await track(udpPeer());
    for (let i = 0; i < 20; i++) {
      two.send(Buffer.from(`lost ${i}`), closed.port);
      one.send(Buffer.from(`kept ${i}`), healthy.port);
      const answer = await until('an answer', () => one.received.shift());
      expect(answer.toString()).toBe(`kept ${i}`);
    }
    expect(two.received).toEqual([]);
    await track(udpEcho(gone));
    await untilAnswered(two, closed.port, 'now it is open');
    await untilAnswered(one, healthy.port, 'as before');
  });

  it('a container that is started anew goes on with the flows that there are', async () => {
    const first = await track(udpEcho(await lastingPort()));
    const { spec, port } = await publish(first.port);
    const client = await track(udpPeer());
    await untilAnswered(client, port, 'first');
    await first.close();
    for (let i = 0; i < 5; i++) client.send(Buffer.from('to nobody'), port);
    await track(udpEcho(first.port));
    await untilAnswered(client, port, 'second');
    expect((await carrier.pair.stats(spec)).flows).toBe(1);
  });

  it('unexpose ends the flows and frees the port', async () => {
    const before = descriptorCount(carrier.pair.shim.pid);
    const { port } = await publish((await track(udpEcho())).port);
    const clients = await Promise.all(Array.from({ length: 20 }, () => track(udpPeer())));
    for (const client of clients) await untilAnswered(client, port, 'hello');
    const spec = exposed.pop()!;
    expect((await callApi(carrier.pair.api, 'DELETE', { spec })).status).toBe(200);
    await (await track(udpPeer(port))).close(); // the port can be had
    if (before === undefined) console.log(NO_PROC);
    else
      await until(
        'the shim to close its sockets',
        () => descriptorCount(carrier.pair.shim.pid)! <= before + 1,
      );
    const again = await carrier.pair.expose(spec);
    exposed.push(again.spec);
    expect(again.port).toBe(hostPort(spec));
    await untilAnswered(clients[0]!, port, 'again');
  });

  it('past 1,024 flows the idlest ones go, are counted, and may come again', async () => {
    const { spec, port } = await publish((await track(udpEcho())).port);
    const clients = await Promise.all(Array.from({ length: MAX_FLOWS + 6 }, () => track(udpPeer())));
    await untilAnswered(clients[0]!, port, 'warm');
    for (let from = 0; from < clients.length; from += BATCH) {
      const batch = clients.slice(from, from + BATCH);
      for (const [i, client] of batch.entries()) client.send(Buffer.from(`client ${from + i}`), port);
      await until('the answers', () => batch.every(({ received }) => received.length > 0));
    }
    expect(clients.map(({ received }) => received.map(String))).toEqual(
      clients.map((_, i) => [`client ${i}`]),
    );
    expect(await carrier.pair.stats(spec)).toMatchObject({
      flows: MAX_FLOWS,
      flows_created: MAX_FLOWS + 6,
      flows_evicted: 6,
      dropped: 0,
    });
    // The first six are the evicted ones; those behind them still have their flows.
    await untilAnswered(clients[10]!, port, 'still there');
    expect((await carrier.pair.stats(spec)).flows_evicted).toBe(6);
    await untilAnswered(clients[0]!, port, 'back');
    expect(await carrier.pair.stats(spec)).toMatchObject({ flows: MAX_FLOWS, flows_evicted: 7 });
  });

  it('works again when the shim was killed and another one is up', async () => {
    const { port } = await publish((await track(udpEcho())).port);
    const client = await track(udpPeer());
    await untilAnswered(client, port, 'before');
    await carrier.pair.shim.kill('SIGKILL');
    for (let i = 0; i < 5; i++) client.send(Buffer.from('while nobody is there'), port);
    carrier.pair.startShim();
    await untilAnswered(client, port, 'after');
  });
}
