import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

import { openPinned } from "./pinned.js";
import type { Run } from "./process.js";

/** Switches what native code writes to stderr. */
interface Mute {
  mute(): void;
  unmute(): void;
}

/**
 * TensorFlow 2.21 writes two lines about oneDNN to stderr while its library opens, before it has read
 * TF_CPP_MIN_LOG_LEVEL, and JavaScript cannot swap a file descriptor. So setup builds this beside the addon. The
 * Node-API functions are declared here, as their binary interface is fixed and the headers may be elsewhere.
 */
const SOURCE = `#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

struct Value;
struct Env;
struct Info;
typedef Value* (*Callback)(Env*, Info*);
extern "C" int napi_create_function(Env*, const char*, size_t, Callback, void*, Value**);
extern "C" int napi_set_named_property(Env*, Value*, const char*, Value*);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int muted = 0;  // calls of mute that no unmute has followed, in all threads
static int saved = -1;

static Value* mute(Env*, Info*) {
  pthread_mutex_lock(&lock);
  if (muted++ == 0) {
    int sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (sink >= 0) {
      saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
      if (saved >= 0) dup2(sink, STDERR_FILENO);
      close(sink);
    }
  }
  pthread_mutex_unlock(&lock);
  return nullptr;
}

static Value* unmute(Env*, Info*) {
  pthread_mutex_lock(&lock);
  if (--muted == 0 && saved >= 0) {
    dup2(saved, STDERR_FILENO);
    close(saved);
    saved = -1;
  }
  pthread_mutex_unlock(&lock);
  return nullptr;
}

static void put(Env* env, Value* exports, const char* name, Callback callback) {
  Value* made = nullptr;
  napi_create_function(env, name, (size_t)-1, callback, nullptr, &made);
  napi_set_named_property(env, exports, name, made);
}

extern "C" __attribute__((visibility("default"))) Value* napi_register_module_v1(Env* env, Value* exports) {
  put(env, exports, "mute", mute);
  put(env, exports, "unmute", unmute);
  return exports;
}
`;

const addonIn = (folder: string): string => path.join(folder, "lib", "mute.node");

/**
 * Builds the switch into a package's folder. Whether that works is left aside: without it two lines more are printed.
 */
export async function buildMute(folder: string, cxx: string, run: Run): Promise<void> {
  const source = path.join(folder, "lib", "mute.cc");
  await writeFile(source, SOURCE);
  await run(cxx, ["-shared", "-fPIC", "-O1", "-pthread", "-o", addonIn(folder), source], { timeoutMs: 60_000 });
}

/**
 * Does `work` (synchronous) without what native code would print, if the package in `folder` has the switch. Whoever
 * sets TF_CPP_MIN_LOG_LEVEL to 0 wants to see everything, and does.
 */
export function quietly<T>(folder: string, work: () => T): T {
  if (process.env.TF_CPP_MIN_LOG_LEVEL === "0" || !existsSync(addonIn(folder))) return work();
  const stderr = openPinned(createRequire(import.meta.url), addonIn(folder)) as Mute;
  stderr.mute();
  try {
    return work();
  } finally {
    stderr.unmute();
  }
}
