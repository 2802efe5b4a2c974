/**
 * Tells of something that does not stop a call, where the caller gave no function for it: as a warning of the process.
 */
export const warn = (text: string): void => process.emitWarning(text);
