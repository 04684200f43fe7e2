// The one place that wires: the command line gets the verbs that run inside this process.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "daemon/cli/cli.hpp"
#include "daemon/jobs/offline_replay.hpp"
#include "daemon/serve.hpp"
#include "daemon/version.hpp"
#include "daemon/work.hpp"
#include "optimizers/registry.hpp"

namespace {

int replay(const std::string& file) {
  std::ifstream in(file);
  if (!in) {
    std::fprintf(stderr, "paretod: cannot read %s\n", file.c_str());
    return 1;
  }
  std::ostringstream text;
  text << in.rdbuf();
  const auto verdict = paretod::replay_export(text.str(), paretod::builtin_optimizers());
  if (!verdict) {
    std::fprintf(stderr, "paretod: %s: %s\n", file.c_str(), verdict.error().text().c_str());
    return 1;
  }
  if (!verdict->mismatch.empty()) {
    std::fprintf(stderr, "paretod: %s does not replay: %s\n", file.c_str(),
                 verdict->mismatch.c_str());
    return 1;
  }
  std::printf("%s: %llu trials asked again, bit for bit%s\n", verdict->job_name.c_str(),
              static_cast<unsigned long long>(verdict->trials),
              verdict->complete ? ", to the end" : "; the log is unfinished");
  return 0;
}

/// Waiting OpenMP threads spin by default, which on a shared machine takes the processor from
/// those that compute.  libgomp reads its environment before main(), so changing it means starting
/// again.
void make_openmp_wait_passively(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);  // returns only if it fails, and then we go on as we are
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "serve" || verb == "worker" || verb == "merge") make_openmp_wait_passively(argv);
  return paretod::cli_main(argc, argv,
                           {.version = std::string(paretod::build_version()),
                            .serve = paretod::serve,
                            .replay = replay,
                            .work = paretod::work});
}
