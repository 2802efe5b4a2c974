/** Bytes as Latin-1 text, a character a byte: how the letters that mark formats, boxes and chunks are compared. */
export const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
