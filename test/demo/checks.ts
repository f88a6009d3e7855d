/** Real clients of the published ports. Each check answers what it saw, or throws what was wrong. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { get } from 'node:http';
import { connect } from 'node:net';
import { PAGE } from './containers.ts';

export type Check = (ip: string, port: number, signal: AbortSignal) => Promise<string>;

const UPLOAD_BYTES = 1024 * 1024;
/** Datagrams may be lost anywhere, so one that nobody answers is sent again, after milliseconds. */
const UDP_AGAIN_MS = 500;

/** A page comes with status 200 and the body that the container sends. */
export const checkHttp: Check = async (ip, port, signal) => {
  const { status, body } = await new Promise<{ status: number | undefined; body: string }>(
    (resolve, reject) => {
      get({ host: ip, port, agent: false, signal }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode, body: text }));
      }).on('error', reject);
    },
  );
  if (status !== 200) throw new Error(`HTTP status ${status} instead of 200`);
  if (body !== PAGE) throw new Error(`the page has another body: ${JSON.stringify(body.slice(0, 80))}`);
  return 'HTTP 200 with the page of the container';
};

/** A datagram comes back as it was sent. */
export const checkUdp: Check = async (ip, port, signal) => {
  const payload = randomBytes(512);
  const socket = createSocket('udp4');
  const send = () => socket.send(payload);
  let timer: NodeJS.Timeout | undefined;
  try {
    const answer = await new Promise<Buffer>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      socket.on('error', reject);
      socket.on('message', resolve);
      socket.connect(port, ip, () => {
        send();
        timer = setInterval(send, UDP_AGAIN_MS);
      });
    });
    if (!answer.equals(payload)) throw new Error(`another datagram came back, of ${answer.length} bytes`);
  } finally {
    clearInterval(timer);
    socket.close();
  }
  return `a datagram of ${payload.length} bytes came back`;
};

/** An upload is answered although, and only when, its client has half-closed. */
export const checkUpload: Check = async (ip, port, signal) => {
  const payload = randomBytes(UPLOAD_BYTES);
  const socket = connect({ host: ip, port, allowHalfOpen: true, signal });
  let halfClosed = false;
  socket.write(payload, () => {
    halfClosed = true;
    socket.end();
  });
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    if (!halfClosed) throw new Error('an answer came before the upload was over');
    chunks.push(chunk);
  }
  const answer = Buffer.concat(chunks);
  if (!answer.equals(payload))
    throw new Error(`${answer.length} bytes came back instead of the ${payload.length} sent`);
  return `an upload of ${payload.length} bytes, half-closed, was answered`;
};
