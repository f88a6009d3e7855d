/** What is measured, and how figures come of it. */
import type { LoadClient } from './load-client.ts';
import type { PublishedPorts, Publisher } from './peers/peer.ts';
import type { ProcessGroup } from './process-group.ts';

/** One figure of a measure: a row of the table. */
export interface Column {
  readonly key: string;
  readonly title: string;
  readonly digits: number;
}

export interface Subject {
  readonly client: LoadClient;
  readonly port: number;
  readonly seconds: number;
  /** The forwarder's processes. */
  readonly processes: ProcessGroup;
  /** Where a measure publishes, and only there. */
  readonly publisher: Publisher | undefined;
}

/** What could be measured on this system, by key. */
export type Measured = Readonly<Record<string, number | undefined>>;

export interface Measure {
  readonly name: string;
  readonly udp: boolean;
  /** It publishes ports, so only those take part who can while they run. */
  readonly publishes?: boolean;
  readonly columns: readonly Column[];
  measure(subject: Subject): Promise<Measured>;
}

const AT_ONCE = 32;
const IDLE = 1_000;
const PACED = 10_000;
const PORTS = 1_000;

function column(key: string, title: string, digits: number): Column {
  return { key, title, digits };
}

async function bulk(subject: Subject, streams: number, way: 'up' | 'down') {
  const { client, port, seconds, processes } = subject;
  const before = processes.cpuSeconds();
  const { bytes, seconds: took } = await client.run({ type: 'bulk', port, streams, way, seconds });
  const after = processes.cpuSeconds();
  const cpu = before === undefined || after === undefined ? undefined : (after - before) / (bytes! / 1e9);
  return { rate: (bytes! * 8) / took! / 1e9, cpu };
}

async function requests(subject: Subject, connections: number, keepAlive: boolean) {
  const { client, port, seconds } = subject;
  return client.run({ type: 'requests', port, connections, keepAlive, seconds });
}

async function datagrams({ client, port, seconds }: Subject, bytes: number, rate?: number) {
  return client.run({ type: 'datagrams', port, bytes, rate, seconds });
}

/** Publishes ports, makes sure that one leads to the backend, and says what they cost. @param before bytes of memory */
async function publish(
  { client, processes }: Subject,
  before: number | undefined,
  ask: () => Promise<PublishedPorts>,
): Promise<{ ms: number; mb: number | undefined }> {
  const began = performance.now();
  const { port, remove } = await ask();
  const ms = performance.now() - began;
  await client.run({ type: 'requests', port, connections: 1, keepAlive: false, seconds: 0.1 });
  await processes.untilIdle();
  const after = processes.memoryBytes();
  await remove();
  return { ms, mb: before === undefined || after === undefined ? undefined : (after - before) / 1e6 };
}

/** The order is that of the measuring, too: memory while nothing else has been done. */
export const MEASURES: readonly Measure[] = [
  {
    name: 'memory',
    udp: false,
    columns: [
      column('idle', 'memory of an idle forwarder, MB', 1),
      column('held', 'memory that 1,000 idle connections add, MB', 1),
    ],
    async measure({ client, port, processes }) {
      const before = processes.memoryBytes();
      await client.run({ type: 'hold', port, connections: IDLE });
      await processes.untilIdle();
      const after = processes.memoryBytes();
      await client.run({ type: 'release' });
      if (before === undefined || after === undefined) return {};
      return { idle: before / 1e6, held: (after - before) / 1e6 };
    },
  },
  {
    name: 'forwards',
    udp: false,
    publishes: true,
    columns: [
      column('rangeMs', '1,000 ports in one request, ms', 0),
      column('rangeMb', 'memory that they add, MB', 1),
      column('eachMs', '1,000 ports in as many requests, ms', 0),
      column('eachMb', 'memory that these add, MB', 1),
    ],
    async measure(subject) {
      const { processes, publisher } = subject;
      const before = processes.memoryBytes();
      const range = await publish(subject, before, () => publisher!.range(PORTS));
      const each = await publish(subject, before, () => publisher!.each(PORTS));
      return { rangeMs: range.ms, rangeMb: range.mb, eachMs: each.ms, eachMb: each.mb };
    },
  },
  {
    name: 'ping',
    udp: false,
    columns: [column('ping', 'one request at a time, median µs', 0)],
    measure: async (subject) => ({ ping: (await requests(subject, 1, true)).p50 }),
  },
  {
    name: 'requests',
    udp: false,
    columns: [column('requests', 'requests/s, 32 connections', 0)],
    measure: async (subject) => ({ requests: (await requests(subject, AT_ONCE, true)).rate }),
  },
  {
    name: 'connections',
    udp: false,
    columns: [
      column('connections', 'new connections/s, 32 at once', 0),
      column('connecting', 'new connection, median µs to the answer', 0),
    ],
    async measure(subject) {
      const { rate, p50 } = await requests(subject, AT_ONCE, false);
      return { connections: rate, connecting: p50 };
    },
  },
  {
    name: 'bulk1',
    udp: false,
    columns: [
      column('up1', '1 stream up, Gb/s', 2),
      column('down1', '1 stream down, Gb/s', 2),
      column('cpuUp', 'CPU seconds a GB up', 2),
      column('cpuDown', 'CPU seconds a GB down', 2),
    ],
    async measure(subject) {
      const up = await bulk(subject, 1, 'up');
      const down = await bulk(subject, 1, 'down');
      return { up1: up.rate, down1: down.rate, cpuUp: up.cpu, cpuDown: down.cpu };
    },
  },
  {
    name: 'bulk8',
    udp: false,
    columns: [column('up8', '8 streams up, Gb/s', 2), column('down8', '8 streams down, Gb/s', 2)],
    measure: async (subject) => ({
      up8: (await bulk(subject, 8, 'up')).rate,
      down8: (await bulk(subject, 8, 'down')).rate,
    }),
  },
  {
    name: 'udp-requests',
    udp: true,
    columns: [column('answers', 'UDP answers/s, 32 requests at once', 0)],
    async measure({ client, port, seconds }) {
      const { rate } = await client.run({ type: 'datagram-requests', port, outstanding: AT_ONCE, seconds });
      return { answers: rate };
    },
  },
  ...[64, 1400].map(
    (bytes): Measure => ({
      name: `udp${bytes}`,
      udp: true,
      columns: [column(`udp${bytes}`, `UDP of ${bytes.toLocaleString('en')} bytes, delivered/s`, 0)],
      async measure(subject) {
        const { delivered, seconds } = await datagrams(subject, bytes);
        return { [`udp${bytes}`]: delivered! / seconds! };
      },
    }),
  ),
  {
    name: 'paced',
    udp: true,
    columns: [column('lost', 'UDP of 1,400 bytes, 10,000/s, lost %', 2)],
    async measure(subject) {
      const { sent, delivered } = await datagrams(subject, 1400, PACED);
      return { lost: (1 - delivered! / sent!) * 100 };
    },
  },
];
