import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../../shared/errors.ts';
import { ECHO, KIND_AT, LEAST_DATAGRAM } from './load/words.ts';
import type { LoadClient } from './load-client.ts';
import type { Measure } from './measures.ts';
import { BACKEND, type Peer, type Place } from './peers/peer.ts';
import { freePort, untilAnswers, untilEchoes } from './ports.ts';
import { ProcessGroup } from './process-group.ts';

/** What one peer did in one round. */
export interface Outcome {
  readonly peer: string;
  /** Figures by the key of their column. */
  readonly figures: Readonly<Record<string, number>>;
  /** Why, by the name of a measure. */
  readonly failed: Readonly<Record<string, string>>;
}

export interface RoundOptions {
  readonly measures: readonly Measure[];
  readonly seconds: number;
  readonly client: LoadClient;
  readonly signal: AbortSignal;
}

/** The measures that a peer takes part in. */
export function measuresOf(peer: Peer, measures: readonly Measure[]): Measure[] {
  return measures.filter(
    ({ name, udp, publishes }) =>
      (peer.udp || !udp) &&
      (peer.publisher !== undefined || publishes !== true) &&
      peer.measures?.includes(name) !== false,
  );
}

/** Starts a peer and a backend afresh, measures, and ends them. */
export async function measurePeer(peer: Peer, options: RoundOptions): Promise<Outcome> {
  const { client, seconds, signal } = options;
  const measures = measuresOf(peer, options.measures);
  const processes = new ProcessGroup();
  const backend = new ProcessGroup();
  const dir = await mkdtemp(join(tmpdir(), 'portferry-bench-')); // mode 0700
  const figures: Record<string, number> = {};
  const failed: Record<string, string> = {};
  try {
    const place = await start(
      peer,
      { processes, backend, dir, signal },
      measures.some(({ udp }) => udp),
    );
    const subject = {
      client,
      port: place.front,
      seconds,
      processes,
      publisher: peer.publisher?.(place),
    };
    for (const measure of measures) {
      if (signal.aborted) break;
      await processes.untilIdle();
      try {
        const measured = await measure.measure(subject);
        for (const [key, figure] of Object.entries(measured)) if (figure !== undefined) figures[key] = figure;
      } catch (error) {
        failed[measure.name] = messageOf(error);
      }
    }
  } catch (error) {
    const why = `it does not start: ${messageOf(error)}${processes.lastLine === '' ? '' : ` (${processes.lastLine})`}`;
    for (const { name } of measures) failed[name] = why;
  } finally {
    await processes.stop();
    await backend.stop();
    await rm(dir, { recursive: true, force: true });
  }
  return { peer: peer.name, figures, failed };
}

interface Started {
  readonly processes: ProcessGroup;
  readonly backend: ProcessGroup;
  readonly dir: string;
  readonly signal: AbortSignal;
}

/** @returns where it is, once its front port leads to a backend */
async function start(peer: Peer, { processes, backend, dir, signal }: Started, udp: boolean): Promise<Place> {
  const front = await freePort();
  const back = peer.namespace?.samePort === true ? front : await freePort();
  if (peer.namespace === undefined) {
    backend.start(process.execPath, BACKEND, '127.0.0.1', String(back));
    await untilAnswers(back, signal);
  }
  const place = { front, back, dir, processes, signal };
  await peer.start(place);
  await untilAnswers(front, signal);
  if (udp) await untilEchoes(front, Buffer.alloc(LEAST_DATAGRAM).fill(ECHO, KIND_AT, KIND_AT + 1), signal);
  return place;
}
