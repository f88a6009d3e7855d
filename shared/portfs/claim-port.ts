import type { Duplex } from 'node:stream';
import { BridgeError, ERRNO, errnoNumber, errorOfText } from '../errors.ts';
import { P9Client, type P9ClientOptions } from '../p9/client.ts';

export interface ClaimedPort {
  /** The spec as the server made it out: free ports and ranges filled in. */
  readonly resolved: string;
  /** Resolves when the claim is over: with nothing after `release`, else with what ended it, or the connection. */
  readonly closed: Promise<BridgeError | undefined>;
  /** Ends the claim and the connection. Resolves when the server has released it; may be called twice. */
  release(): Promise<void>;
}

export type ClaimPortOptions = Pick<P9ClientOptions, 'dialect'> & {
  /** Gives up; the server then drops what it had begun. Without effect once the claim is made. */
  readonly signal?: AbortSignal;
};

/** How often `ctl` is read again: its answer is another one when somebody else has ended the claim. Milliseconds. */
const LOOK_MS = 1_000;
/** Far more than any answer has. */
const ANSWER_BYTES = 4096;

/**
 * Publishes one port over a connection to a /port tree and holds it: the claim lives as long as the connection and ends with
 * `release`. A refusal is a BridgeError with the server's own words; ALREADY_EXISTS when the entry is in use.
 * @param stream a connection to the 9P server; becomes the claim's own
 * @param name of the entry; nobody else's may be the same
 */
export async function claimPort(
  stream: Duplex,
  name: string,
  spec: string,
  options: ClaimPortOptions = {},
): Promise<ClaimedPort> {
  const { signal } = options;
  // The end of the connection undoes everything, at whatever step, so this is all that giving up takes.
  const giveUp = () => {
    stream.destroy(new BridgeError('CANCELLED', `${spec}: given up`));
  };
  signal?.addEventListener('abort', giveUp);
  try {
    const client = await P9Client.connect(stream, options);
    const ctl = await request(client, name, spec);
    return {
      resolved: ctl.resolved,
      closed: untilEnded(client, ctl.fid),
      release: releaser(client, ctl.fid),
    };
  } catch (error) {
    stream.destroy();
    if (signal?.aborted) throw new BridgeError('CANCELLED', `${spec}: given up`, { cause: error });
    throw error;
  } finally {
    signal?.removeEventListener('abort', giveUp);
  }
}

async function request(
  client: P9Client,
  name: string,
  spec: string,
): Promise<{ fid: number; resolved: string }> {
  await client.mkdir(name);
  const fid = await client.walk([name, 'ctl']);
  await client.open(fid, 'read-write');
  const bytes = Buffer.from(spec);
  const taken = await client.write(fid, 0, bytes).catch((error: unknown) => {
    // Who makes the same entry at the same moment shares it with us, and has written first.
    if (errnoNumber(error) !== ERRNO.EACCES) throw error;
    throw new BridgeError('ALREADY_EXISTS', `entry ${name} is in use`, { cause: error });
  });
  if (taken !== bytes.length)
    throw new BridgeError('REFUSED', `${taken} of ${bytes.length} bytes of the request were taken`);
  return { fid, resolved: resolvedOf(await readAnswer(client, fid)) };
}

async function readAnswer(client: P9Client, ctl: number): Promise<string> {
  return Buffer.from(await client.read(ctl, 0, ANSWER_BYTES))
    .toString()
    .trimEnd();
}

/** @throws BridgeError what the answer says */
function resolvedOf(answer: string): string {
  if (answer.startsWith('OK ')) return answer.slice('OK '.length);
  const reason = answer.startsWith('ERROR ') ? answer.slice('ERROR '.length) : `unexpected answer: ${answer}`;
  throw errorOfText(reason, 'REFUSED');
}

/** Resolves with what has ended a claim: an answer that is another one, or the connection, which is closed then. */
function untilEnded(client: P9Client, ctl: number): Promise<BridgeError | undefined> {
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const settle = (why: BridgeError | undefined): void => {
      over = true;
      clearTimeout(timer);
      resolve(why);
      client.close();
    };
    const lookLater = (): void => {
      if (!over) timer = setTimeout(look, LOOK_MS);
    };
    const look = async (): Promise<void> => {
      // A connection that is over says so below.
      const answer = await readAnswer(client, ctl).catch(() => undefined);
      try {
        if (answer !== undefined) resolvedOf(answer);
        lookLater();
      } catch (error) {
        settle(error as BridgeError);
      }
    };
    void client.closed.then(settle);
    lookLater();
  });
}

function releaser(client: P9Client, ctl: number): () => Promise<void> {
  let released: Promise<void> | undefined;
  const release = async () => {
    try {
      await client.clunk(ctl);
    } catch (error) {
      // A connection that is lost has released it as well.
      if (!(error instanceof BridgeError) || error.code !== 'LINK_LOST') throw error;
    } finally {
      client.close();
    }
  };
  return () => {
    released ??= release();
    return released;
  };
}
