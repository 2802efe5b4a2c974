import { WeightsError } from "../errors.js";
import { safeSegments } from "../file-name.js";
import { shown } from "../json.js";

/**
 * Letters that the Hub allows in the name of an owner and of a repository. Source: huggingface_hub,
 * utils/_validators.py.
 */
const NAME = /^(?=.{1,96}$)[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?$/;

/** Whether `text` has the form `owner/name` of a repository on the Hub. */
export function isRepositoryName(text: string): boolean {
  const parts = text.split("/");
  return parts.length === 2 && parts.every((part) => NAME.test(part)) && !/--|\.\.|\.git$/.test(text);
}

/** Throws `WeightsError` for what is no `owner/name`: nothing else may become part of a path or an address. */
export function checkRepositoryName(text: string): void {
  if (isRepositoryName(text)) return;
  throw new WeightsError(
    `${shown(text)}: expected owner/name of a repository on the Hub, as in google/paligemma2-3b-mix-224`,
  );
}

/** Throws `WeightsError` for a revision that is no branch, tag or commit: it becomes part of a path. */
export function checkRevision(text: string): void {
  if (text === "" || text.length > 255)
    throw new WeightsError(`revision ${shown(text)}: expected a branch, tag or commit`);
  safeSegments("revision", text);
}

/** Whether a revision is a whole commit hash, which always means the same files. */
export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** Address of the page that people visit. */
export const pageOf = (endpoint: string, repository: string): string => `${endpoint}/${repository}`;

/** Address below which the Hub's interface speaks of a repository. */
export const apiOf = (endpoint: string, repository: string): string => `${endpoint}/api/models/${repository}`;

/** Address of one file at one commit. */
export const fileAddress = (endpoint: string, repository: string, commit: string, file: string): string =>
  `${endpoint}/${repository}/resolve/${commit}/${file.split("/").map(encodeURIComponent).join("/")}`;
