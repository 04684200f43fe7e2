#include "evaluators/diffusion/parallel.hpp"

#include <algorithm>
#include <atomic>

#if defined(__SANITIZE_THREAD__) || !defined(_OPENMP)
#include <thread>
#include <vector>
#else
#include <omp.h>
#endif

namespace paretod {

void parallel_for(std::size_t threads, std::size_t count,
                  const std::function<void(std::size_t index, std::size_t worker)>& body) {
  const std::size_t team = std::min(threads, count);
  if (team <= 1) {
    for (std::size_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  std::atomic<std::size_t> next{0};
  const auto work = [&](std::size_t worker) {
    for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) body(i, worker);
  };
#if defined(__SANITIZE_THREAD__) || !defined(_OPENMP)
  // Thread sanitizer cannot see the barriers of an OpenMP runtime that was built without it.
  std::vector<std::thread> others;
  for (std::size_t worker = 1; worker < team; ++worker) others.emplace_back(work, worker);
  work(0);
  for (std::thread& other : others) other.join();
#else
#pragma omp parallel num_threads(static_cast <int>(team))
  work(static_cast<std::size_t>(omp_get_thread_num()));
#endif
}

}  // namespace paretod
