import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, unreachable } from '../../../host-agent/client/api-client.ts';
import { formatList } from '../../../host-agent/client/format-list.ts';
import { serveApi } from '../../../host-agent/control/api.ts';
import { ForwardTable } from '../../../host-agent/control/forward-table.ts';
import { PermanentForwards } from '../../../host-agent/control/permanent-forwards.ts';
import { BridgeError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/logger.ts';
import { parseAddress } from '../../../shared/transport/address.ts';

const dir = mkdtempSync(join(tmpdir(), 'portferry-'));
const path = join(dir, 'api.sock');
const SPEC = 'tcp:127.0.0.1:8080:tcp:10.0.0.1:80';
let close: () => Promise<void>;
let ended: boolean[] = [];

beforeAll(async () => {
  const table = new ForwardTable(async (_vm, spec) => {
    if (spec.protocol === 'udp') throw new BridgeError('PORT_IN_USE', 'Bind for … failed');
    const forward = {
      close: async ({ now }: { now: boolean }) => void ended.push(now),
      stats: () => ({ active: 2, bytes_up: 1_500_000, bytes_down: 12 }),
    };
    return { resolved: spec, forward };
  }, silentLogger());
  const vms = () => [
    { name: 'a', up: true, lane: 'dedicated', rttMs: 0.25, token: true, authFailures: 3 },
    { name: 'b', up: false, lane: undefined, rttMs: undefined, token: false, authFailures: 0 },
  ];
  const log = silentLogger();
  const permanent = new PermanentForwards({ table, state: undefined, vms: ['a', 'b'], log });
  close = await serveApi(parseAddress(`unix://${path}`), { table, permanent, vms, log });
});
afterAll(async () => {
  await close();
  rmSync(dir, { recursive: true, force: true });
});

/** A raw call, for what the client never sends. */
function call(
  method: string,
  url: string,
  body = '',
): Promise<{ status: number; code: string; message: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-length': Buffer.byteLength(body) }; // which Node leaves out for DELETE
    const sent = request({ socketPath: path, method, path: url, headers }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode!, ...JSON.parse(text) }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

describe('the API', () => {
  const client = new ApiClient(path);

  it('is for its user only', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('says so when a request is too large', async () => {
    const spec = 'x'.repeat(200_000);
    expect(await call('POST', '/v1/forwards', JSON.stringify({ spec }))).toMatchObject({
      status: 400,
      code: 'BAD_REQUEST',
    });
  });

  it('exposes, lists and unexposes', async () => {
    ended = [];
    expect(await client.expose(SPEC, 'a')).toMatchObject({ spec: SPEC, vm: 'a', owner: 'api' });
    const list = await client.list();
    expect(list.forwards.map(({ spec }) => spec)).toEqual([SPEC]);
    expect(formatList(list)).toMatch(/^SPEC +VM.*\ntcp:127.*a +api .* 2 +1\.5 MB +12 B\nno link to VM b\n$/);
    await client.unexpose(SPEC, undefined, true);
    expect(ended).toEqual([true]);
    expect((await client.list()).forwards).toEqual([]);
  });

  it.each([
    ['no VM where there are several', () => client.expose(SPEC, undefined), 'BAD_REQUEST'],
    ['an unknown VM', () => client.expose(SPEC, 'c'), 'NOT_FOUND'],
    ['a bad spec', () => client.expose('tcp:nonsense', 'a'), 'BAD_SPEC'],
    ['a port that is taken', () => client.expose('udp:127.0.0.1:1:udp:10.0.0.1:80', 'a'), 'PORT_IN_USE'],
    ['what is not exposed', () => client.unexpose(SPEC, undefined, false), 'NOT_FOUND'],
  ])('refuses %s with its code', async (_name, act, code) => {
    await expect(act()).rejects.toMatchObject({ code });
  });

  it.each([
    ['GET', '/nothing', '', 404, 'NOT_FOUND'],
    ['PUT', '/v1/forwards', '{}', 400, 'BAD_REQUEST'],
    ['POST', '/v1/forwards', 'not json', 400, 'BAD_REQUEST'],
    ['POST', '/v1/forwards', '[]', 400, 'BAD_REQUEST'],
    ['POST', '/v1/forwards', '{"spec":5}', 400, 'BAD_REQUEST'],
    ['POST', '/v1/forwards', '{"spec":""}', 400, 'BAD_SPEC'],
    ['POST', '/v1/forwards', `{"spec":"${'x'.repeat(70_000)}"}`, 400, 'BAD_REQUEST'],
  ])('answers %s %s %.20s with %i', async (method, url, body, status, code) => {
    expect(await call(method, url, body)).toMatchObject({ status, code });
  });

  it.each([
    ['POST', {}, '"spec" is missing'],
    ['DELETE', {}, '"spec" is missing'],
    ['POST', { spec: null }, '"spec" has to be a string, not null'],
    ['POST', { spec: SPEC, vm: 5 }, '"vm" has to be a string, not 5'],
    ['POST', { spec: SPEC, vn: 'a' }, 'POST knows no key "vn", only "spec", "vm"; did you mean "vm"?'],
    ['POST', { spec: SPEC, vm: 'a', foo: 1 }, 'POST knows no key "foo"'],
    ['POST', { spec: SPEC, vm: 'a', now: true }, 'POST knows no key "now", only "spec", "vm"'],
    ['DELETE', { spec: SPEC, VM: 'b' }, 'DELETE knows no key "VM", only "spec", "vm", "now"'],
    ['DELETE', { spec: SPEC, now: 'yes' }, '"now" has to be true or false, not "yes"'],
    ['DELETE', { spec: SPEC, now: 1 }, '"now" has to be true or false, not 1'],
    ['DELETE', { spec: SPEC, now: null }, '"now" has to be true or false, not null'],
  ])('refuses %s %j, and says what is expected', async (method, body, why) => {
    ended = [];
    const claim = await client.expose(SPEC, 'a');
    const answer = await call(method, '/v1/forwards', JSON.stringify(body));
    expect(answer).toMatchObject({ status: 400, code: 'BAD_REQUEST' });
    expect(answer.message).toContain(why);
    expect((await client.list()).forwards).toEqual([claim]);
    expect(ended).toEqual([]);
    await client.unexpose(SPEC, 'a', false);
  });

  it('an idle connection does not outlive the API', async () => {
    const other = join(dir, 'other.sock');
    const table = new ForwardTable(() => Promise.reject(new Error('unused')), silentLogger());
    const log = silentLogger();
    const permanent = new PermanentForwards({ table, state: undefined, vms: [], log });
    const end = await serveApi(parseAddress(`unix://${other}`), { table, permanent, vms: () => [], log });
    const idle = connect(other);
    await once(idle, 'connect');
    const closed = once(idle, 'close');
    await new ApiClient(other).list(); // by now the idle one has been accepted as well
    await end();
    await closed;
  });

  it('says what to look at when the host agent does not run', async () => {
    writeFileSync(join(dir, 'file'), '');
    for (const name of ['nobody', 'file/nobody'])
      await expect(new ApiClient(join(dir, name)).list()).rejects.toMatchObject({
        code: 'NO_LINK',
        message: expect.stringMatching(/is portferry host-agent running/),
      });
  });

  it("says that a directory is no socket, and what is another user's", async () => {
    await expect(new ApiClient(dir).list()).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining(`${dir}: that is no socket`),
    });
    const denied = Object.assign(new Error('connect EACCES'), { code: 'EACCES' });
    expect(unreachable(path, denied)).toMatchObject({
      code: 'PERMISSION_DENIED',
      message: expect.stringContaining('permission denied; the socket belongs to'),
    });
  });
});
