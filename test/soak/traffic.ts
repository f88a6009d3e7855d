/** What comes and goes at random: forwards, connections of several kinds, datagrams of several clients. */
import { setTimeout as delay } from 'node:timers/promises';
import { callApi } from '../helpers/api.ts';
import { DatagramClient } from '../helpers/datagram-client.ts';
import { type Exchange, type Manner, startExchange, type Transfer } from '../helpers/exchange.ts';
import { hostPort, loopback, type Pair, until } from '../helpers/processes.ts';
import { Seeded } from '../helpers/seeded.ts';
import { type UdpPeer, udpEcho } from '../helpers/udp-peer.ts';

const FORWARDS = { least: 2, most: 12 };
const WORKERS = 6;
const FLOWS = 8;
/** One of so many forwards ends at once, with what runs on it; others let it finish. */
const NOW = 0.3;
const SETTLE_MS = 30_000;

interface Published {
  readonly spec: string;
  readonly port: number;
  /** Transfers that run on it. */
  readonly running: Set<Transfer>;
}

export class Traffic {
  readonly counts = { exposed: 0, transfers: 0, cut: 0, bytes: 0, datagrams: 0, answered: 0 };
  readonly faults: string[] = [];
  private readonly pair: Pair;
  private readonly random: Seeded;
  private readonly forwards: Published[] = [];
  private exchange!: Exchange;
  private udp!: UdpPeer;
  private udpSpec = '';
  private clients: DatagramClient[] = [];
  private stopped = false;
  private readonly working: Promise<void>[] = [];

  private constructor(pair: Pair, seed: number) {
    this.pair = pair;
    this.random = new Seeded(seed);
  }

  static async start(pair: Pair, seed: number): Promise<Traffic> {
    const traffic = new Traffic(pair, seed);
    [traffic.exchange, traffic.udp] = await Promise.all([startExchange(), udpEcho()]);
    traffic.clients = await Promise.all(Array.from({ length: FLOWS }, () => DatagramClient.start()));
    traffic.udpSpec = (await pair.expose(loopback('udp', traffic.udp.port))).spec;
    for (let i = 0; i < FORWARDS.least; i++) await traffic.expose();
    return traffic;
  }

  /** Begins; `rest` ends it. */
  run(): void {
    this.stopped = false;
    this.working.push(this.publish(), this.flow());
    for (let i = 0; i < WORKERS; i++) this.working.push(this.connect());
  }

  /** Lets all that goes on come to its end, with the same forwards each time. */
  async rest(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.working.splice(0));
    while (this.forwards.length > FORWARDS.least) await this.unexpose();
    await until('the container to be left alone', () => this.exchange.open() === 0, SETTLE_MS);
    for (const client of this.clients) {
      this.counts.datagrams += client.sent;
      this.counts.answered += client.answered;
      client.sent = 0;
      client.answered = 0;
      this.faults.push(...client.faults.splice(0));
    }
  }

  async close(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.working.splice(0));
    await Promise.all([
      this.exchange.close(),
      this.udp.close(),
      ...this.clients.map((client) => client.close()),
    ]);
  }

  private async publish(): Promise<void> {
    while (!this.stopped) {
      const full = this.forwards.length >= FORWARDS.most;
      const least = this.forwards.length <= FORWARDS.least;
      if (least || (!full && this.random.chance(0.5))) await this.expose();
      else await this.unexpose();
      await delay(this.random.between(1, 60));
    }
  }

  private async expose(): Promise<void> {
    const wildcard = this.random.chance(0.2);
    const spec = wildcard
      ? `tcp:0.0.0.0:0:tcp:127.0.0.1:${this.exchange.port}`
      : loopback('tcp', this.exchange.port);
    const { status, body } = await callApi(this.pair.api, 'POST', { spec });
    if (status !== 201) {
      this.faults.push(`expose ${spec}: ${JSON.stringify(body)}`);
      return;
    }
    const resolved = (body as { spec: string }).spec;
    this.forwards.push({ spec: resolved, port: hostPort(resolved), running: new Set() });
    this.counts.exposed++;
  }

  private async unexpose(): Promise<void> {
    const [forward] = this.forwards.splice(this.random.below(this.forwards.length), 1);
    const { spec, running } = forward!;
    const now = this.random.chance(NOW);
    const doomed = [...running];
    const { status } = await callApi(this.pair.api, 'DELETE', { spec, now });
    if (status !== 200) this.faults.push(`unexpose ${spec}: ${status}`);
    // Those that were accepted go on unless they end at once; one that is cut off has to know it.
    for (const { client, number } of doomed)
      if (client === 'short end')
        this.faults.push(`transfer ${number} was cut off by unexpose, and ended cleanly`);
  }

  private async connect(): Promise<void> {
    while (!this.stopped) {
      const forward = this.random.pick(this.forwards);
      const manner = this.random.pick<Manner>(['plain', 'plain', 'plain', 'half-closed', 'aborted']);
      const large = manner === 'plain' && this.random.chance(0.1);
      const size = () => this.random.between(0, large ? 2_000_000 : 20_000);
      const few = () => this.random.between(1, 1_000);
      const transfer =
        manner === 'plain'
          ? this.exchange.begin(forward.port, size(), size())
          : this.exchange.begin(forward.port, 2 * few(), few(), manner);
      forward.running.add(transfer);
      await transfer.over;
      forward.running.delete(transfer);
      this.look(transfer, this.forwards.includes(forward));
      if (this.random.chance(0.2)) await delay(this.random.between(0, 20));
    }
  }

  private look(transfer: Transfer, published: boolean): void {
    const { number, manner, client, server, received, up, down } = transfer;
    this.counts.transfers++;
    this.counts.bytes += received + (client === 'complete' ? up : 0);
    const name = `transfer ${number} (${manner}, ${up} up, ${received} of ${down} down)`;
    if (client === 'wrong' || server === 'wrong') this.faults.push(`${name} has wrong bytes`);
    if (client === 'short end' || server === 'short end')
      this.faults.push(`${name} ended cleanly before its end`);
    if (client === 'reset' && manner !== 'aborted') {
      this.counts.cut++;
      if (published) this.faults.push(`${name} was reset, and nobody had removed its forward`);
    }
  }

  private async flow(): Promise<void> {
    const port = hostPort(this.udpSpec);
    while (!this.stopped) {
      const client = this.random.pick(this.clients);
      void client.ask(port, this.random.between(8, 1_400));
      await delay(this.random.between(0, 3));
    }
  }
}
