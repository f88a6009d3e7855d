import { connectTo, readAll } from '../helpers/stream-client.ts';
import type { Seen } from './guest/containers.ts';

/** What the containers have seen until now. @param socket where they tell it */
export async function seenAt(socket: string): Promise<Seen> {
  const connection = await connectTo(socket);
  try {
    return JSON.parse((await readAll(connection)).toString()) as Seen;
  } finally {
    connection.destroy();
  }
}
