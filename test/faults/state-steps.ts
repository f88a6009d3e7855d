/**
 * Runs in a host agent before the program does (node --import), and says at which step of writing its state file it is:
 * it goes on when the other side has heard it. Only tests load it, and nothing in the program knows of it.
 */
import files, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const { PORTFERRY_TEST_STEPS: steps, PORTFERRY_TEST_STATE: state } = process.env;
const { open, rename } = files;

if (isMainThread && steps !== undefined && state !== undefined) {
  const temporary = `${state}.new`;
  const say = (step: string): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(steps);
      socket.on('error', () => {}); // 'close' follows
      socket.on('close', () => resolve());
      socket.resume().write(`${step}\n`);
    });

  const watchFile = (file: FileHandle): void => {
    const { sync } = file;
    const write = file.write as (bytes: Uint8Array, offset: number, length?: number) => Promise<unknown>;
    file.writeFile = async (content) => {
      const bytes = content as Uint8Array;
      const half = bytes.length >> 1;
      await write.call(file, bytes, 0, half);
      await say('half written');
      await write.call(file, bytes, half);
      await say('written');
    };
    file.sync = async () => {
      await sync.call(file);
      await say('synced');
    };
  };
  const watchDirectory = (directory: FileHandle): void => {
    const { sync } = directory;
    directory.sync = async () => {
      await sync.call(directory);
      await say('directory synced');
    };
  };

  files.open = async (path, ...how) => {
    if (path === temporary) await say('to be opened');
    const file = await open(path, ...how);
    if (path === dirname(state)) watchDirectory(file);
    if (path !== temporary) return file;
    await say('opened');
    watchFile(file);
    return file;
  };
  files.rename = async (from, to) => {
    await rename(from, to);
    if (from === temporary) await say('renamed');
  };
  syncBuiltinESMExports();
}
