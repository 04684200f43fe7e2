#include "evaluators/process/resource_limits.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>

namespace paretod {
namespace {

int limit(pid_t pid, __rlimit_resource resource, rlim_t soft, rlim_t hard) {
  rlimit now{};
  if (prlimit(pid, resource, nullptr, &now) != 0) return errno;
  const rlimit wanted{std::min(soft, now.rlim_max), std::min(hard, now.rlim_max)};
  return prlimit(pid, resource, &wanted, nullptr) == 0 ? 0 : errno;
}

}  // namespace

int apply_limits(pid_t pid, const ResourceLimits& limits) {
  constexpr rlim_t mebibyte = 1 << 20;
  int error = limit(pid, RLIMIT_CORE, 0, 0);
  const auto step = [&](std::int64_t count, __rlimit_resource resource, rlim_t unit, rlim_t room) {
    if (error != 0 || count == 0) return;
    const rlim_t most = static_cast<rlim_t>(count) * unit;
    error = limit(pid, resource, most, most + room);
  };
  step(limits.memory_mb, RLIMIT_AS, mebibyte, 0);
  // SIGXCPU at the limit says why; SIGKILL follows for a program that catches it.
  step(limits.cpu_s, RLIMIT_CPU, 1, 1);
  step(limits.file_mb, RLIMIT_FSIZE, mebibyte, 0);
  step(limits.processes_max, RLIMIT_NPROC, 1, 0);
  return error;
}

}  // namespace paretod
