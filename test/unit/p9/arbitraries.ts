import fc from 'fast-check';
import {
  type FieldKind,
  MESSAGES,
  type Message,
  type MessageName,
  NOT_GIVEN,
  parseFields,
} from '../../../shared/p9/messages.ts';
import { type Dialect, NO_NUMBER } from '../../../shared/p9/types.ts';

export const DIALECTS: readonly Dialect[] = ['9P2000', '9P2000.u', '9P2000.L'];

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const qid = fc.record({ type: u8, version: u32, path: u64 });
const oldStat = {
  type: u16,
  dev: u32,
  qid,
  mode: u32,
  atime: u32,
  mtime: u32,
  length: u64,
  name: text,
  uid: text,
  gid: text,
  muid: text,
};
const stat = (dialect: Dialect) =>
  dialect === '9P2000'
    ? fc.record({
        ...oldStat,
        extension: fc.constant(''),
        nUid: fc.constant(NO_NUMBER),
        nGid: fc.constant(NO_NUMBER),
        nMuid: fc.constant(NO_NUMBER),
      })
    : fc.record({ ...oldStat, extension: text, nUid: u32, nGid: u32, nMuid: u32 });

function field(kind: FieldKind, dialect: Dialect): fc.Arbitrary<unknown> {
  const simple = {
    u8,
    u16,
    u32,
    u64,
    text,
    qid,
    data: fc.uint8Array({ maxLength: 300 }),
    names: fc.array(text, { maxLength: 16 }),
    qids: fc.array(qid, { maxLength: 16 }),
  };
  return kind === 'stat' ? stat(dialect) : simple[kind];
}

/** The messages that a dialect has. */
export function namesIn(dialect: Dialect): MessageName[] {
  const names = Object.keys(MESSAGES) as MessageName[];
  return names.filter((name) => {
    const where = MESSAGES[name][1];
    return where === 'all' || (where === 'L') === (dialect === '9P2000.L');
  });
}

/** Any message of one name. */
export function messageOf(name: MessageName, dialect: Dialect): fc.Arbitrary<Message> {
  const fields: Record<string, fc.Arbitrary<unknown>> = { type: fc.constant(name), tag: u16 };
  for (const { name: key, kind, extended } of parseFields(MESSAGES[name][2])) {
    fields[key] = extended && dialect === '9P2000' ? fc.constant(NOT_GIVEN[key]) : field(kind, dialect);
  }
  return fc.record(fields) as unknown as fc.Arbitrary<Message>;
}

export const anyDialect = fc.constantFrom(...DIALECTS);
export const anyMessage = anyDialect.chain((dialect) =>
  fc.record({
    dialect: fc.constant(dialect),
    message: fc.constantFrom(...namesIn(dialect)).chain((name) => messageOf(name, dialect)),
  }),
);
