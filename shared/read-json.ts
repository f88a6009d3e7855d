import type { IncomingMessage } from 'node:http';
import { BridgeError, messageOf } from './errors.ts';

/**
 * Reads the body of a request as JSON. Leaving the loop of an async iterator would take the connection along, and with
 * it the answer: hence events.
 * @param maxBytes more than this is refused without waiting for the rest, which is dropped
 * @throws BridgeError BAD_REQUEST; what the stream says when it breaks
 */
export function readJson(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
      else reject(new BridgeError('BAD_REQUEST', `a request may have ${maxBytes} bytes at the most`));
    });
    request.on('error', reject);
    request.on('end', () => {
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      } catch (error) {
        reject(new BridgeError('BAD_REQUEST', `the body is not JSON: ${messageOf(error)}`, { cause: error }));
      }
    });
  });
}
