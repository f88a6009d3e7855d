/** Services of the host that are published in a VM: it wants others, more of them than it may, and answers what nobody asked. */
import { setTimeout as delay } from 'node:timers/promises';
import { pack, unpack } from 'msgpackr';
import { COMMAND } from '../../../shared/mux/frame.ts';
import { callApi } from '../../helpers/api.ts';
import { until } from '../../helpers/processes.ts';
import { tcpDestination, unixDestination } from '../../helpers/vpnkit-peer.ts';
import type { Attack } from '../attack.ts';
import { controlFrame, FEATURES, frame, type RawLink, u32, u64 } from '../raw-link.ts';
import type { Scene } from '../scene.ts';

const CHANNELS = 300;
const PORT_IN_VM = 7_777;

/** An Open, for a client that nobody knows. @param id of the reverse forward; without one there are no details */
function open(channel: number, destination: Buffer, id?: number): Buffer {
  const details = id === undefined ? [] : [Buffer.from([0, 3, 4]), u32(id)];
  return frame(COMMAND.open, channel, Buffer.concat([Buffer.from([2]), destination, ...details]));
}

interface Published {
  readonly link: RawLink;
  readonly id: number;
  readonly spec: string;
  /** The answers to channels that were opened, by errno. */
  readonly results: Map<number, number>;
}

/** The service of the scene, published in the hostile VM, which grants it. */
async function published(scene: Scene): Promise<Published> {
  const link = await scene.link({ features: [...FEATURES, 'details', 'reverse'] });
  const results = new Map<number, number>();
  let id: number | undefined;
  link.onPiece = ({ kind, bytes }) => {
    if (kind === 'dial-result') {
      const errno = bytes.readUInt32LE(7);
      results.set(errno, (results.get(errno) ?? 0) + 1);
      if (errno !== 0) link.send(frame(COMMAND.close, bytes.readUInt32LE(3)));
    }
    if (kind !== 'reverse') return;
    const { forwards } = unpack(bytes.subarray(bytes.readUInt16LE(0))) as {
      forwards: { id: number; spec: string }[];
    };
    for (const each of forwards) {
      id = each.id;
      link.control({ type: 'reversed', id: each.id, spec: each.spec.replace(/:0$/, `:${PORT_IN_VM}`) });
    }
  };
  const spec = `reverse:tcp:127.0.0.1:${scene.servicePort}:tcp:127.0.0.1:0`;
  const { status, body } = await callApi(scene.api, 'POST', { vm: 'evil', spec });
  if (status !== 201 || id === undefined) throw new Error(`expose ${spec}: ${JSON.stringify(body)}`);
  return { link, id, spec: (body as { spec: string }).spec, results };
}

async function withdraw(scene: Scene, { link, spec }: Published): Promise<void> {
  const { status, body } = await callApi(scene.api, 'DELETE', { spec, now: true });
  link.close();
  if (status !== 200) throw new Error(`unexpose ${spec}: ${JSON.stringify(body)}`);
  await until('the service to be left alone', () => scene.serviceClients === 0);
}

const sum = (counts: Iterable<number>): number => [...counts].reduce((all, each) => all + each, 0);

export const REVERSE_ATTACKS: readonly Attack[] = [
  {
    name: 'a service of the host is published, and the VM wants others',
    run: async (scene) => {
      const place = await published(scene);
      const { link, id, results } = place;
      const service = tcpDestination(scene.servicePort);
      const wrong = [
        (channel: number) => open(channel, service),
        (channel: number) => open(channel, service, id + 1),
        (channel: number) => open(channel, service, 0xffff_ffff),
        (channel: number) => open(channel, tcpDestination(scene.exchange.port), id),
        (channel: number) => open(channel, tcpDestination(scene.goodPorts[0]!), id),
        (channel: number) => open(channel, unixDestination(scene.api), id),
        (channel: number) => open(channel, unixDestination('/etc/passwd'), id),
      ];
      const count = 7_000;
      const before = scene.serviceEver;
      for (let i = 0; i < count; i += 100)
        await link.flush(
          Buffer.concat(Array.from({ length: 100 }, (_, j) => wrong[j % wrong.length]!(i + j))),
        );
      await until('the answers', () => sum(results.values()) >= count || link.ended);
      if (results.has(0) || link.ended) throw new Error(`answered by ${JSON.stringify([...results])}`);
      if (scene.serviceEver > before) throw new Error('the service was dialled');
      await withdraw(scene, place);
      return `${count} channels were refused`;
    },
  },
  {
    name: `${CHANNELS} channels to a service of the host that pours, of which nothing is read`,
    run: async (scene) => {
      const place = await published(scene);
      const { link, id, results } = place;
      const service = tcpDestination(scene.servicePort);
      for (let channel = 0; channel < CHANNELS; channel++)
        link.send(
          Buffer.concat([open(channel, service, id), frame(COMMAND.window, channel, u64(2n ** 40n))]),
        );
      await until('the answers', () => sum(results.values()) >= CHANNELS || link.ended);
      await until('all to be connected', () => scene.serviceClients === CHANNELS);
      link.socket.pause();
      await delay(1_500);
      await withdraw(scene, place);
      return 'connections waited';
    },
  },
  {
    name: 'answers about reverse forwards that nobody asked for, of wrong places, of garbage',
    run: async (scene) => {
      const place = await published(scene);
      const { link, spec } = place;
      for (let id = 1_000; id < 11_000; id++) link.control({ type: 'reversed', id, spec });
      for (let id = 1_000; id < 11_000; id++)
        link.control({ type: 'reverse-refused', id, code: 'IO', text: 'no' });
      link.control({ type: 'unclaim', id: 77, now: false });
      link.seen.length = 0;
      await link.sees('unclaimed');
      await withdraw(scene, place);
      const wrongs = [
        { type: 'reverse', forwards: [] },
        { type: 'reversed', id: -1, spec },
        { type: 'reversed', id: 0, spec: 'x'.repeat(65_536) },
        { type: 'reverse-refused', id: 0, code: 'IO', text: 'x'.repeat(65_536) },
        { type: 'reverse-refused', id: 0 },
      ];
      for (const wrong of wrongs) {
        const other = await scene.link({ features: [...FEATURES, 'details', 'reverse'] });
        other.send(controlFrame(pack(wrong)));
        await other.isEnded();
      }
      const lying = await published(scene).then(async (again) => {
        again.link.control({
          type: 'reversed',
          id: again.id,
          spec: again.spec.replace(`:${scene.servicePort}:`, `:${scene.goodPorts[0]}:`),
        });
        await again.link.isEnded();
        return again;
      });
      await withdraw(scene, lying);
      return `20,000 were forgotten, ${wrongs.length + 1} links were ended`;
    },
  },
];
