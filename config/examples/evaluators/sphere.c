/* A complete evaluator for paretod as a shared library: the distance of (x, y) from (0.3, 0.7).
 *
 *   cc -shared -fPIC -I evaluators/library -o libsphere.so config/examples/evaluators/sphere.c
 *
 * and in the configuration: "sphere-c": {"type": "library", "path": "libsphere.so"}.
 */
#include <stdio.h>

#include "paretod_evaluator.h"

static int opened;

static void *open_sphere(int argc, const char *const *argv, char *error, size_t error_size) {
  (void)argv;
  if (argc == 0) return &opened;
  snprintf(error, error_size, "it takes no arguments");
  return NULL;
}

static const char *describe_sphere(void *state) {
  (void)state;
  return "{\"paretod\":1, \"type\":\"hello\", \"evaluator\":\"sphere\", \"slots\":16,\n"
         " \"space\":[{\"name\":\"x\", \"type\":\"real\", \"low\":0, \"high\":1},\n"
         "          {\"name\":\"y\", \"type\":\"real\", \"low\":0, \"high\":1}],\n"
         " \"objectives\":[{\"name\":\"distance\", \"goal\":\"minimize\"}]}";
}

static void evaluate_sphere(void *state, const paretod_request *requests, size_t count,
                            paretod_reply reply, void *host) {
  (void)state;
  for (size_t i = 0; i < count; ++i) {
    const double dx = requests[i].values[0] - 0.3;
    const double dy = requests[i].values[1] - 0.7;
    char text[512];
    snprintf(text, sizeof text,
             "{\"type\":\"result\", \"id\":\"%s\", \"objectives\":{\"distance\":%.17g}}",
             requests[i].id, dx * dx + dy * dy);
    reply(host, text);
  }
}

static void close_sphere(void *state) { (void)state; }

const paretod_evaluator *paretod_evaluator_v1(void) {
  static const paretod_evaluator functions = {open_sphere, describe_sphere, evaluate_sphere, NULL,
                                              close_sphere};
  return &functions;
}
