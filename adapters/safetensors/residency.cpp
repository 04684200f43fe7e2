#include "adapters/safetensors/residency.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace paretod {
namespace {

/// Whole pages around the bytes.
void advise(std::span<const std::byte> mapped, int advice) {
  if (mapped.empty()) return;
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped.data()) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(mapped.data() + mapped.size());
  ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

void expect_reading(std::span<const std::byte> mapped) {
  advise(mapped, MADV_WILLNEED);
}

void release_pages(std::span<const std::byte> mapped) {
  advise(mapped, MADV_DONTNEED);
}

}  // namespace paretod
