import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatForward } from '../../../host-agent/control/forward-spec.ts';
import { ForwardTable } from '../../../host-agent/control/forward-table.ts';
import { PermanentForwards } from '../../../host-agent/control/permanent-forwards.ts';
import type { SavedForward } from '../../../host-agent/control/state/state-format.ts';
import { BridgeError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { onePort } from '../../../shared/port-range.ts';
import { parseSpec } from '../../../shared/port-spec.ts';
import { until } from '../../helpers/processes.ts';

const spec = (port: number): string => `tcp:127.0.0.1:${port}:tcp:10.0.0.1:80`;

let taken: Set<number>;
/** Claims that were refused and looked into. */
let loud: number;
let saved: readonly SavedForward[];
let refuseSave: BridgeError | undefined;
let table: ForwardTable;
let permanent: PermanentForwards;

function start(found: readonly SavedForward[], retryMs = 5): PermanentForwards {
  let next = 40_000;
  table = new ForwardTable(async (_vm, wanted) => {
    if (wanted.protocol === 'unix') throw new Error('not here');
    const hostPort = wanted.hostPorts.first || next++;
    if (taken.has(hostPort)) throw new BridgeError('PORT_IN_USE', `port ${hostPort} is taken`);
    taken.add(hostPort);
    const close = async (): Promise<void> => void taken.delete(hostPort);
    return { resolved: { ...wanted, hostPorts: onePort(hostPort) }, forward: { close, stats: () => ({}) } };
  }, silentLogger());
  saved = found;
  const save = async (forwards: readonly SavedForward[]): Promise<void> => {
    if (refuseSave !== undefined) throw refuseSave;
    saved = forwards;
  };
  permanent = new PermanentForwards({
    table: {
      claim: (request) => {
        if (request.spec.protocol === 'reverse') return new Promise(() => {}); // there is no link
        return table.claim(request).catch((error) => {
          if (request.quiet !== true) loud++;
          throw error;
        });
      },
      release: (claim, options) => table.release(claim, options),
    },
    state: { found, save },
    vms: ['a', 'b'],
    log: silentLogger(),
    retryMs,
  });
  return permanent;
}
const published = (): string[] => table.list().map((claim) => formatForward(claim.spec));

beforeEach(() => {
  taken = new Set();
  loud = 0;
  refuseSave = undefined;
});
afterEach(() => permanent.close());

describe('permanent forwards', () => {
  it('are saved with the port that they got, and forgotten before they are released', async () => {
    start([]);
    const claim = await permanent.expose('a', parseSpec(spec(0)));
    expect(saved).toEqual([{ spec: spec(40_000), vm: 'a' }]);
    expect(await permanent.forget([], spec(40_000), 'b')).toEqual([]);
    expect(await permanent.forget([claim], spec(40_000))).toEqual([]);
    expect(saved).toEqual([]);
    await table.release(claim);
    expect(permanent.failed()).toEqual([]);
  });

  it('come back from the file; one whose port is taken is listed with the reason, and published when it is free', async () => {
    taken.add(81);
    start([80, 81, 82].map((port) => ({ spec: spec(port), vm: 'a' })));
    await permanent.restore();
    expect(published()).toEqual([spec(80), spec(82)]);
    expect(permanent.failed()).toMatchObject([
      { spec: spec(81), vm: 'a', code: 'PORT_IN_USE', message: 'port 81 is taken' },
    ]);
    taken.delete(81);
    await until('the third', () => published().includes(spec(81)));
    expect(permanent.failed()).toEqual([]);
    expect(saved.length).toBe(3);
  });

  it('that cannot be read, or belong to a VM that is not here, are kept and can be forgotten', async () => {
    const found = [
      { spec: 'tcp:of the future', vm: 'a' },
      { spec: spec(80), vm: 'gone' },
    ];
    start(found);
    await permanent.restore();
    expect(permanent.failed().map(({ code }) => code)).toEqual(['BAD_SPEC', 'NOT_FOUND']);
    await permanent.expose('a', parseSpec(spec(81)));
    expect(saved).toEqual([...found, { spec: spec(81), vm: 'a' }]);
    expect((await permanent.forget([], 'tcp:of the future')).length).toBe(1);
    expect(saved.length).toBe(2);
  });

  it('are found by their name without options too', async () => {
    taken.add(80);
    start([{ spec: `${spec(80)}?of=the-future`, vm: 'a' }]);
    await permanent.restore();
    expect(await permanent.forget([], spec(81))).toEqual([]);
    expect((await permanent.forget([], spec(80))).length).toBe(1);
    expect(saved).toEqual([]);
  });

  it('asked for again while they fail are tried at once, and are kept once', async () => {
    taken.add(80);
    start([{ spec: spec(80), vm: 'a' }]);
    await permanent.restore();
    await expect(permanent.expose('a', parseSpec(spec(80)))).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    taken.delete(80);
    expect(formatForward((await permanent.expose('a', parseSpec(spec(80)))).spec)).toBe(spec(80));
    expect([permanent.failed(), published()]).toEqual([[], [spec(80)]]);
  });

  it('that are refused at first are not kept', async () => {
    taken.add(80);
    start([]);
    await expect(permanent.expose('a', parseSpec(spec(80)))).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    expect([permanent.failed(), saved]).toEqual([[], []]);
  });

  it('that cannot be written down are not published, and those that cannot be forgotten stay', async () => {
    start([]);
    await permanent.expose('a', parseSpec(spec(80)));
    refuseSave = new BridgeError('IO', 'the disk is full');
    await expect(permanent.expose('a', parseSpec(spec(81)))).rejects.toBe(refuseSave);
    expect(published()).toEqual([spec(80)]);
    await expect(permanent.forget(table.list(), spec(80))).rejects.toBe(refuseSave);
    refuseSave = undefined;
    await permanent.expose('b', parseSpec(spec(82)));
    expect(saved.map((each) => each.spec)).toEqual([spec(80), spec(82)]);
  });

  it('that fail at the start are looked into a few times only', async () => {
    const found = Array.from({ length: 20 }, (_, index) => ({ spec: spec(100 + index), vm: 'a' }));
    for (let port = 100; port < 120; port++) taken.add(port);
    start(found, 60_000);
    await permanent.restore();
    expect(permanent.failed().length).toBe(20);
    expect(loud).toBe(8);
  });

  it('that fail at the start are looked into, however many wait for the link before them', async () => {
    const waiting = Array.from(
      { length: 20 },
      (_, index) => `reverse:tcp:127.0.0.1:1:tcp:127.0.0.1:${index}`,
    );
    taken.add(80);
    start(
      [...waiting, spec(80)].map((spec) => ({ spec, vm: 'a' })),
      60_000,
    );
    await permanent.restore();
    expect(loud).toBe(1);
  });

  it('that somebody else ends are listed as failed, and come back', async () => {
    start([]);
    const claim = await permanent.expose('a', parseSpec(spec(80)));
    await table.release(claim);
    expect(permanent.failed()).toMatchObject([{ spec: spec(80), code: 'CANCELLED' }]);
    await until('it to be back', () => published().includes(spec(80)));
    expect(saved.length).toBe(1);
  });

  it('are kept when the host agent stops', async () => {
    start([]);
    await permanent.expose('a', parseSpec(spec(80)));
    permanent.close();
    await table.close();
    expect(saved).toEqual([{ spec: spec(80), vm: 'a' }]);
  });
});
