/**
 * One frame to one message and back, by the table in messages.ts. Nothing is accepted that is truncated, has bytes left
 * over, or counts more names or qids than walk(5) allows: each of these is a BridgeError PROTOCOL and nothing else is thrown.
 * A well-framed message that the dialect does not have is no error here, since the session can answer it.
 */
import { ByteReader, malformed } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import {
  type Field,
  type FieldKind,
  type FieldKinds,
  MESSAGES,
  type Message,
  type MessageName,
  NOT_GIVEN,
  parseFields,
} from './messages.ts';
import { readQid, readStat, writeQid, writeStat } from './stat-codec.ts';
import { type Dialect, HEADER_BYTES, MAX_WALK_NAMES, type Qid } from './types.ts';

/** A frame whose number means nothing in the dialect. */
export interface UnknownMessage {
  readonly type: 'unknown';
  readonly tag: number;
  readonly number: number;
}

type FieldCodecs = {
  readonly [K in FieldKind]: {
    read(reader: ByteReader, dialect: Dialect): FieldKinds[K];
    write(writer: ByteWriter, value: FieldKinds[K], dialect: Dialect): void;
  };
};

const FIELDS: FieldCodecs = {
  u8: { read: (reader) => reader.u8(), write: (writer, value) => writer.u8(value) },
  u16: { read: (reader) => reader.u16(), write: (writer, value) => writer.u16(value) },
  u32: { read: (reader) => reader.u32(), write: (writer, value) => writer.u32(value) },
  u64: { read: (reader) => reader.u64(), write: (writer, value) => writer.u64(value) },
  text: { read: (reader) => reader.text(), write: (writer, value) => writer.text(value) },
  qid: { read: readQid, write: writeQid },
  data: {
    read: (reader) => reader.take(reader.u32()),
    write: (writer, value) => {
      writer.u32(value.length);
      writer.put(value);
    },
  },
  names: {
    read: (reader) => readMany(reader, () => reader.text()),
    write: (writer, value) => writeMany(writer, value, (name) => writer.text(name)),
  },
  qids: {
    read: (reader) => readMany(reader, () => readQid(reader)),
    write: (writer, value) => writeMany<Qid>(writer, value, (qid) => writeQid(writer, qid)),
  },
  stat: {
    read: (reader, dialect) => {
      const size = reader.u16();
      const before = reader.remaining;
      const stat = readStat(reader, dialect);
      if (before - reader.remaining !== size) throw malformed(`${size} bytes announced around a stat`);
      return stat;
    },
    write: (writer, value, dialect) => {
      const start = writer.length;
      writer.u16(0);
      writeStat(writer, value, dialect);
      writer.setU16(start, writer.length - start - 2);
    },
  },
};

function readMany<T>(reader: ByteReader, readOne: () => T): T[] {
  const count = reader.u16();
  if (count > MAX_WALK_NAMES) throw malformed(`${count} names or qids`);
  return Array.from({ length: count }, readOne);
}

function writeMany<T>(writer: ByteWriter, values: readonly T[], writeOne: (value: T) => void): void {
  writer.u16(values.length);
  for (const value of values) writeOne(value);
}

interface Layout {
  readonly name: MessageName;
  readonly number: number;
  readonly dialects: 'all' | 'old' | 'L';
  readonly fields: readonly Field[];
}
const LAYOUTS = Object.entries(MESSAGES).map(
  ([name, [number, dialects, fields]]): Layout => ({
    name: name as MessageName,
    number,
    dialects,
    fields: parseFields(fields),
  }),
);
const LAYOUT_BY_NUMBER = new Map(LAYOUTS.map((layout) => [layout.number, layout]));
const LAYOUT_BY_NAME = new Map<string, Layout>(LAYOUTS.map((layout) => [layout.name, layout]));

function speaks(dialect: Dialect, layout: Layout): boolean {
  return layout.dialects === 'all' || (layout.dialects === 'L') === (dialect === '9P2000.L');
}

/** The tag of a frame, which stands at the same place in every message. */
export function frameTag(frame: Uint8Array): number {
  return new ByteReader(frame, 5).u16();
}

/** Decodes one whole frame, size field included. Byte fields are views into it. */
export function decode(frame: Uint8Array, dialect: Dialect): Message | UnknownMessage {
  const reader = new ByteReader(frame);
  const size = reader.u32();
  if (size !== frame.length) throw malformed(`${size} bytes announced, ${frame.length} there`);
  const number = reader.u8();
  const tag = reader.u16();
  const layout = LAYOUT_BY_NUMBER.get(number);
  if (layout === undefined || !speaks(dialect, layout)) return { type: 'unknown', tag, number };
  const message: Record<string, unknown> = { type: layout.name, tag };
  for (const { name, kind, extended } of layout.fields) {
    const absent = extended && dialect === '9P2000';
    message[name] = absent ? NOT_GIVEN[name] : FIELDS[kind].read(reader, dialect);
  }
  reader.end();
  return message as Message;
}

/** Encodes one message as a whole frame. */
export function encode(message: Message, dialect: Dialect): Uint8Array {
  const layout = LAYOUT_BY_NAME.get(message.type) as Layout;
  const values = message as unknown as Record<string, unknown>;
  const writer = new ByteWriter();
  writer.u32(0);
  writer.u8(layout.number);
  writer.u16(message.tag);
  for (const { name, kind, extended } of layout.fields) {
    if (extended && dialect === '9P2000') continue;
    const write = FIELDS[kind].write as (writer: ByteWriter, value: unknown, dialect: Dialect) => void;
    write(writer, values[name], dialect);
  }
  writer.setU32(0, writer.length);
  return writer.finish();
}

/** Bytes of a frame that carries no more than a `data` field: header and count. */
export const DATA_REPLY_BYTES = HEADER_BYTES + 4;
