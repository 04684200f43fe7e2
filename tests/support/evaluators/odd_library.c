/* A library that goes wrong on request: the candidate's k says how.  0: answers; 1: crashes;
 * 2: answers once it is cancelled; 3: prints to stdout, and reports progress. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evaluators/library/paretod_evaluator.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char cancelled[128];

static void *open_odd(int argc, const char *const *argv, char *error, size_t error_size) {
  if (argc == 1 && strcmp(argv[0], "works") == 0) return cancelled;
  snprintf(error, error_size, "the licence has expired");
  return NULL;
}

static const char *describe_odd(void *state) {
  (void)state;
  return "{\"paretod\":1,\"type\":\"hello\",\"evaluator\":\"odd\",\"slots\":2,"
         "\"space\":[{\"name\":\"k\",\"type\":\"integer\",\"low\":0,\"high\":3},"
         "{\"name\":\"b\",\"type\":\"boolean\"}],"
         "\"objectives\":[{\"name\":\"f\",\"goal\":\"minimize\"}]}";
}

static void wait_for_cancel(const char *id) {
  pthread_mutex_lock(&mutex);
  while (strcmp(cancelled, id) != 0) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
}

static void evaluate_odd(void *state, const paretod_request *requests, size_t count,
                         paretod_reply reply, void *host) {
  (void)state;
  for (size_t i = 0; i < count; ++i) {
    const int k = (int)requests[i].values[0];
    char text[256];
    if (k == 1) abort();
    if (k == 2) wait_for_cancel(requests[i].id);
    if (k == 3) {
      printf("thinking\n");
      fflush(stdout);
      snprintf(text, sizeof text, "{\"type\":\"progress\",\"id\":\"%s\",\"done\":0.5}",
               requests[i].id);
      reply(host, text);
    }
    snprintf(text, sizeof text, "{\"type\":\"result\",\n\"id\":\"%s\",\n\"objectives\":{\"f\":%d}}",
             requests[i].id, 10 * k + (int)requests[i].values[1]);
    reply(host, text);
  }
}

static void cancel_odd(void *state, const char *id) {
  (void)state;
  pthread_mutex_lock(&mutex);
  snprintf(cancelled, sizeof cancelled, "%s", id);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static void close_odd(void *state) { (void)state; }

const paretod_evaluator *paretod_evaluator_v1(void) {
  static const paretod_evaluator functions = {open_odd, describe_odd, evaluate_odd, cancel_odd,
                                              close_odd};
  return &functions;
}
