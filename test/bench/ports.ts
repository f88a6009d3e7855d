import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { canBind, canListen } from '../helpers/port-is-free.ts';

/** Below the ports that the kernel gives to clients (net.ipv4.ip_local_port_range), of which load takes many. */
const FIRST = 20_000;
const LAST = 32_000;
const READY_MS = 60_000;

let next = FIRST + (process.pid % 6_000);

/** A port of 127.0.0.1 that is free for TCP and UDP, another one each time. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < LAST - FIRST; tries++) {
    const port = next++;
    if (next === LAST) next = FIRST;
    if ((await canListen(port)) && (await canBind(port))) return port;
  }
  throw new Error(`no port from ${FIRST} to ${LAST} is free`);
}

/** Waits until an HTTP request to a port of 127.0.0.1 is answered. @throws Error after a minute */
export function untilAnswers(port: number, signal: AbortSignal): Promise<void> {
  return untilTrue(`no answer on tcp 127.0.0.1:${port}`, signal, () => answers(port));
}

/** Waits until a datagram to a port of 127.0.0.1 comes back. @throws Error after a minute */
export function untilEchoes(port: number, payload: Buffer, signal: AbortSignal): Promise<void> {
  return untilTrue(`no answer on udp 127.0.0.1:${port}`, signal, () => echoes(port, payload));
}

async function untilTrue(what: string, signal: AbortSignal, check: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + READY_MS;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`${what} within ${READY_MS / 1000} s`);
    await delay(20, undefined, { signal });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: bench\r\n\r\n'));
    socket.setTimeout(500, () => socket.destroy());
    socket.on('error', () => {}); // 'close' follows
    socket.on('data', () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('close', () => resolve(false));
  });
}

function echoes(port: number, payload: Buffer): Promise<boolean> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => {
    const end = (result: boolean) => {
      clearTimeout(timer);
      socket.close();
      resolve(result);
    };
    const timer = setTimeout(() => end(false), 200);
    socket.once('error', () => end(false));
    socket.once('message', () => end(true));
    socket.send(payload, port, '127.0.0.1');
  });
}
