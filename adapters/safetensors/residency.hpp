#pragma once
// What the kernel is told about mapped bytes.  Hints: they change what is resident, never what is
// read.  Any thread.

#include <cstddef>
#include <span>

namespace paretod {

/// The bytes will be read soon, front to back.
void expect_reading(std::span<const std::byte> mapped);
/// The bytes are done with: their pages no longer count as this process's memory (the page cache
/// keeps them as long as it likes).  Reading them again is allowed.
void release_pages(std::span<const std::byte> mapped);

}  // namespace paretod
