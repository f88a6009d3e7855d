/** Tokens, through the command line. */
import { randomBytes } from 'node:crypto';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeHello } from '../../shared/control-codec.ts';
import { encodeHandshake } from '../../shared/link/handshake.ts';
import { LinkIdentity } from '../../shared/link/identity.ts';
import { callApi, type ForwardList, listForwards } from '../helpers/api.ts';
import { engines } from '../helpers/engines.ts';
import {
  hostPort,
  loopback,
  ONE_WORKER,
  ProcessGroup,
  type Running,
  runPortferry,
  until,
  untilLinked,
} from '../helpers/processes.ts';
import { roundTrip } from '../helpers/stream-client.ts';
import { tcpEcho } from '../helpers/tcp-echo.ts';

let group: ProcessGroup;
let api: string;
beforeEach(() => {
  group = new ProcessGroup();
  api = join(group.dir, 'api.sock');
});
afterEach(() => group.close());

function newToken(name: string): string {
  const path = join(group.dir, name);
  writeFileSync(path, randomBytes(32).toString('hex'), { mode: 0o600 });
  return path;
}

const COMMON = ['--log-level', 'debug', ...ONE_WORKER];
const shim = (url: string, ...args: string[]): Running =>
  group.start('vm-shim', '--listen', url, ...COMMON, ...args);
const host = (...args: string[]): Running => group.start('host-agent', '--api', api, ...COMMON, ...args);
const vmOf = (list: ForwardList, name = 'default') => list.vms.find((vm) => vm.name === name)!;

// Links are made alike on both engines; what carries them later is another suite's.
describe.each(engines.slice(-1))('%s engine', (engine) => {
  it.each(['dedicated', 'multiplexed'])(
    'with the same token the %s lane works, and no log has the token',
    async (lane) => {
      const echo = await tcpEcho();
      const token = join(group.dir, 'token');
      expect(await runPortferry('token', token)).toEqual({ code: 0, stdout: `${token}\n`, stderr: '' });
      expect(statSync(token).mode & 0o777).toBe(0o600);
      const url = group.unixUrl('shim.sock');
      const inVm = shim(url, '--token-file', token, '--engine', engine);
      const onHost = host('--connect', url, '--token-file', token, '--engine', engine, '--lane', lane);
      expect(vmOf(await untilLinked(onHost, api))).toMatchObject({ lane, token: true, authFailures: 0 });
      const { body } = await callApi(api, 'POST', { spec: loopback('tcp', echo.port) });
      expect(await roundTrip(hostPort((body as { spec: string }).spec), 'hello')).toBe('hello');
      const secret = readFileSync(token, 'utf8').trim();
      for (const log of [inVm.stderr(), onHost.stderr()]) {
        expect(log).toContain('link is up');
        expect(log).not.toContain(secret);
      }
      await echo.close();
    },
  );

  it('another token is refused and counted, and the link comes up when the file is right', async () => {
    const [ours, theirs] = [newToken('ours'), newToken('theirs')];
    const url = group.unixUrl('shim.sock');
    const inVm = shim(url, '--token-file', theirs, '--engine', engine);
    const onHost = host('--connect', url, '--token-file', ours, '--engine', engine);
    await until('refusals', async () => vmOf(await listForwards(api).catch(() => NOBODY))?.authFailures > 1);
    expect(vmOf(await listForwards(api))).toMatchObject({ up: false, token: true });
    await until('the shim to say why', () => inVm.stderr().includes('did not prove that it has our token'));
    expect(onHost.stderr()).toContain('closed instead of proving that it has our token');
    // The token of a program that runs is changed by changing its file.
    writeFileSync(ours, readFileSync(theirs));
    await untilLinked(onHost, api);
    chmodSync(ours, 0o644);
    await inVm.kill('SIGKILL');
    await delay(1_100); // a reading is good for a second
    shim(url, '--token-file', theirs, '--engine', engine);
    await until('the host to refuse its file', () => onHost.stderr().includes(`chmod 600 ${ours}`));
    expect(vmOf(await listForwards(api)).up).toBe(false);
  });

  it('where the VM dials, another token is refused and counted, and the same one works', async () => {
    const [ours, theirs] = [newToken('ours'), newToken('theirs')];
    const url = group.unixUrl('host.sock');
    const onHost = host('--listen', `a=${url}`, '--token-file', `a=${ours}`, '--engine', engine);
    await until('the host', () => onHost.stderr().includes('is ready'));
    const args = ['vm-shim', '--connect', url, '--engine', engine, ...ONE_WORKER, '--token-file'];
    const stranger = group.start(...args, theirs);
    const failures = async () => vmOf(await listForwards(api), 'a').authFailures > 0;
    await until('a refusal', failures);
    await until('the stranger to say why', () => stranger.stderr().includes('closed instead of proving'));
    group.start(...args, ours);
    expect(vmOf(await untilLinked(onHost, api), 'a').lane).toBe('dedicated');
    await stranger.kill('SIGKILL');
  });

  it('strangers in numbers keep out neither the true host nor another VM', async () => {
    const token = newToken('token');
    const [a, b] = [group.unixUrl('a.sock'), group.unixUrl('b.sock')];
    const shims = [shim(a, '--token-file', token, '--engine', engine), shim(b, '--engine', engine)];
    await until('the shims', () => shims.every(({ stderr }) => stderr().includes('the VM shim listens')));
    const strangers = new Strangers(a.slice('unix://'.length), 120);
    await until('strangers to be refused', () => strangers.refused > 20);
    const args = ['--connect', `a=${a}`, '--connect', `b=${b}`, '--token-file', `a=${token}`];
    const onHost = host(...args, '--engine', engine);
    const begun = performance.now();
    const list = await untilLinked(onHost, api);
    const took = (performance.now() - begun).toFixed(0);
    console.log(
      `${engine}: linked ${took} ms after its start, beside ${strangers.refused} refusals of strangers`,
    );
    expect([vmOf(list, 'a').token, vmOf(list, 'b').token]).toEqual([true, false]);
    expect(strangers.told).toBe(0);
    strangers.close();
  });
});

const NOBODY: ForwardList = { forwards: [], vms: [] };

/** Keeps a number of streams open to a shim, each with a hello and 32 bytes that prove nothing. */
class Strangers {
  /** Streams that the shim has closed. */
  refused = 0;
  /** Bytes that came behind the hello of the shim. */
  told = 0;
  private readonly path: string;
  private readonly sockets = new Set<Socket>();
  private over = false;

  constructor(path: string, count: number) {
    this.path = path;
    for (let i = 0; i < count; i++) this.begin();
  }

  close(): void {
    this.over = true;
    for (const socket of this.sockets) socket.destroy();
  }

  private begin(): void {
    const socket = connect(this.path);
    this.sockets.add(socket);
    let hello = 0;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      // A hello comes in one piece: 52 bytes of text, a length and less than 400 bytes.
      hello += chunk.length;
      if (hello > 500) this.told += chunk.length;
    });
    socket.on('close', () => {
      this.sockets.delete(socket);
      if (this.over) return;
      this.refused++;
      setTimeout(() => this.over || this.begin(), 5);
    });
    const payload = encodeHello(new LinkIdentity('host').nextHello(Buffer.alloc(32, 1)));
    socket.write(Buffer.concat([encodeHandshake(payload), Buffer.alloc(32)]));
  }
}

describe('a side without a token', () => {
  it('is told on both ends', async () => {
    const token = newToken('token');
    const url = group.unixUrl('shim.sock');
    const inVm = shim(url);
    const onHost = host('--connect', url, '--token-file', token);
    await until('the host to say it', () =>
      onHost.stderr().includes('we ask for proof of our token, and the peer has none'),
    );
    await until('the shim to say it', () =>
      inVm.stderr().includes('the peer asks for proof of a token, and we have none'),
    );
  });
});

describe('a token file', () => {
  it.each(['host-agent', 'vm-shim'])('that others can read stops %s, with what to do', async (program) => {
    const token = newToken('token');
    chmodSync(token, 0o640);
    const { code, stderr } = await runPortferry(
      program,
      '--listen',
      group.unixUrl('x.sock'),
      '--token-file',
      token,
    );
    expect(code).toBe(1);
    expect(stderr).toContain(`others may use the token file ${token} (mode 0640): chmod 600 ${token}`);
    expect(stderr).toContain('[PERMISSION_DENIED]');
  });

  it('that is short or missing stops both programs', async () => {
    const short = join(group.dir, 'short');
    writeFileSync(short, 'secret\n', { mode: 0o600 });
    const url = group.unixUrl('x.sock');
    const outcomes = await Promise.all([
      runPortferry('host-agent', '--connect', `a=${url}`, '--token-file', `a=${short}`),
      runPortferry('vm-shim', '--connect', url, '--token-file', join(group.dir, 'none')),
      runPortferry('host-agent', '--connect', url, '--token-file', `b=${short}`),
      runPortferry('token', short),
    ]);
    expect(outcomes.map(({ code }) => code)).toEqual([2, 1, 2, 1]);
    const said = outcomes.map(({ stderr }) => stderr);
    expect(said[0]).toContain('has 6 characters; it needs 32 at least');
    expect(said[1]).toContain('there is no such file');
    expect(said[2]).toContain('--token-file is for VM "b"');
    expect(said[3]).toContain('exists already and is left as it is');
    expect(said.join('')).not.toContain('secret\n');
  });
});
