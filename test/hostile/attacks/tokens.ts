/** Who has not the token of a VM and wants its link: wrong proofs, old ones, silence at each step, and many at once. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { proofOf } from '../../../shared/link/proof.ts';
import { listForwards } from '../../helpers/api.ts';
import { until } from '../../helpers/processes.ts';
import type { Attack } from '../attack.ts';
import { dialUnix, handshake, hello } from '../raw-link.ts';
import type { Scene } from '../scene.ts';

const TEXT_BYTES = 52;
const PROOF_BYTES = 32;
/** As docs/architecture.md and docs/security.md have them. */
const MOST_WARNINGS = 10;
const LONGEST_DELAY_MS = 5_000;

/** One who dials as that VM does. */
interface Caller {
  readonly socket: Socket;
  /** What the host agent has sent. */
  readonly got: () => Buffer;
}

async function call(scene: Scene): Promise<Caller> {
  const socket = await dialUnix(scene.tokened);
  let got: Buffer = Buffer.alloc(0);
  socket.on('data', (bytes: Buffer) => {
    got = Buffer.concat([got, bytes]).subarray(0, 8_192);
  });
  socket.on('end', () => socket.destroy());
  return { socket, got: () => got };
}

/** The payload of the host agent's handshake. */
async function helloOf({ got, socket }: Caller): Promise<Buffer> {
  return until('the hello of the host agent', () => {
    const bytes = got();
    if (bytes.length < TEXT_BYTES + 2) return !socket.destroyed ? undefined : Buffer.alloc(0);
    const end = TEXT_BYTES + 2 + bytes.readUInt16LE(TEXT_BYTES);
    return bytes.length >= end && bytes.subarray(TEXT_BYTES + 2, end);
  });
}

/** What it has sent behind its handshake. */
function behindHello({ got }: Caller): number {
  const bytes = got();
  return bytes.length < TEXT_BYTES + 2
    ? 0
    : Math.max(0, bytes.length - TEXT_BYTES - 2 - bytes.readUInt16LE(TEXT_BYTES));
}

const nonce = (): Buffer => randomBytes(PROOF_BYTES);

async function vmOf(scene: Scene): Promise<{ up: boolean; authFailures: number }> {
  return (await listForwards(scene.api)).vms.find(({ name }) => name === 'tokened')!;
}

/** The VM itself, a real shim with the token, is let in at once, whoever else tries; then it goes. */
async function trueOneIsLetIn(scene: Scene): Promise<number> {
  const url = `unix://${scene.tokened}`;
  const begun = performance.now();
  const shim = scene.group.start(
    'vm-shim',
    '--connect',
    url,
    '--token-file',
    scene.token,
    '--engine',
    'portable',
  );
  try {
    await until('the link of who has the token', async () => (await vmOf(scene)).up);
    return performance.now() - begun;
  } finally {
    await shim.kill();
    await until('its link to be over', async () => !(await vmOf(scene)).up);
  }
}

export const TOKEN_ATTACKS: readonly Attack[] = [
  {
    name: 'no proof is asked for, a wrong one is given, an old one is given again',
    run: async (scene) => {
      const before = (await vmOf(scene)).authFailures;
      const bare = await call(scene);
      bare.socket.write(handshake(hello()));
      await until('who has no token to be closed', () => bare.socket.destroyed, 15_000);

      // One that is true once: of the hellos of this link, made with the token.
      const ours = hello({ nonce: nonce() });
      const first = await call(scene);
      first.socket.write(handshake(ours));
      const token = Buffer.from(readFileSync(scene.token, 'utf8').trim());
      const proof = proofOf(token, 'dialler', { dialler: ours, acceptor: await helloOf(first) });
      first.socket.write(proof);
      await until('it to be believed', () => behindHello(first) >= PROOF_BYTES);
      const proved = first.got();
      first.socket.destroy();

      const hostsOwn = proved.subarray(proved.length - PROOF_BYTES);
      for (const wrong of [Buffer.alloc(PROOF_BYTES), randomBytes(PROOF_BYTES), proof, hostsOwn]) {
        const caller = await call(scene);
        caller.socket.write(Buffer.concat([handshake(ours), wrong]));
        await until('it to be closed', () => caller.socket.destroyed, 15_000);
        if (behindHello(caller) > 0) throw new Error('a wrong proof was answered');
      }
      const counted = (await vmOf(scene)).authFailures - before;
      // The host agent told the first why: no token; that is no failed proof, or one, as it likes.
      if (counted < 4) throw new Error(`${counted} were counted`);
      const ms = await trueOneIsLetIn(scene);
      return `${counted} counted, none answered; the true one was let in within ${Math.round(ms)} ms`;
    },
  },
  {
    name: 'silence at each step: before the hello, behind it, in the middle of the proof',
    run: async (scene) => {
      const callers: Socket[] = [];
      const steps = [
        Buffer.alloc(0),
        handshake(hello({ nonce: nonce() })).subarray(0, 60),
        handshake(hello({ nonce: nonce() })),
        Buffer.concat([handshake(hello({ nonce: nonce() })), Buffer.alloc(PROOF_BYTES - 1)]),
      ];
      for (let i = 0; i < 400; i++) {
        const { socket } = await call(scene);
        const step = steps[i % steps.length]!;
        if (step.length > 0) socket.write(step);
        callers.push(socket);
      }
      const ms = await trueOneIsLetIn(scene);
      const open = callers.filter((socket) => !socket.destroyed).length;
      await until('all of them to be closed', () => callers.every((socket) => socket.destroyed), 20_000);
      return `the true one was let in beside ${open} of them within ${Math.round(ms)} ms`;
    },
  },
  {
    name: 'a storm of 1,000 wrong proofs',
    run: async (scene) => {
      const before = (await vmOf(scene)).authFailures;
      const warnings = scene.logged('link refused', 40);
      const callers: Caller[] = [];
      // A few at a time: past 128 that are on their way the oldest are closed unheard, and not counted.
      for (let i = 0; i < 1_000; i += 50) {
        const some = await Promise.all(Array.from({ length: 50 }, () => call(scene)));
        for (const { socket } of some)
          socket.write(Buffer.concat([handshake(hello({ nonce: nonce() })), nonce()]));
        callers.push(...some);
        const heard = async () => (await vmOf(scene)).authFailures - before >= callers.length;
        await until('all to be counted', heard);
      }
      const counted = (await vmOf(scene)).authFailures - before;
      const answered = callers.filter((caller) => behindHello(caller) > 0).length;
      if (answered > 0) throw new Error(`${answered} wrong proofs were answered`);
      const ms = await trueOneIsLetIn(scene);
      // The last of them are told late, so that guessing is slow.
      const waiting = callers.filter(({ socket }) => !socket.destroyed).length;
      const limit = 4 * LONGEST_DELAY_MS;
      await until('all to be closed', () => callers.every(({ socket }) => socket.destroyed), limit);
      const said = scene.logged('link refused', 40) - warnings;
      if (said > 3 * MOST_WARNINGS) throw new Error(`${said} warnings were logged`);
      return `${counted} counted, ${said} warnings, ${waiting} kept waiting; the true one was let in within ${Math.round(ms)} ms`;
    },
  },
];
