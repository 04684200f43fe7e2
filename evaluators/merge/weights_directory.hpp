#pragma once
// A folder of merged weights for programs on this machine, in shared memory (/dev/shm) or wherever
// the configuration says: <parent>/paretod-merge-XXXXXX/<number>/model.safetensors.  It is private
// to the user, goes with its owner, and after a kill -9 with the next owner that opens a folder
// beside it: a folder's owner holds a lock on the file "lock" in it as long as the process lives.
//
// Not thread-safe.

#include <cstdint>
#include <string>
#include <string_view>

#include "optimizers/core/result.hpp"

namespace paretod {

class WeightsDirectory {
 public:
  /// Removes what owners that are no more left in `parent`, then makes a folder of its own there.
  static Result<WeightsDirectory> open(const std::string& parent);
  /// Whether a folder of that name, without its parent, may be an owner's.
  static bool names_one(std::string_view name);
  WeightsDirectory(WeightsDirectory&& other) noexcept;
  WeightsDirectory& operator=(WeightsDirectory&& other) noexcept;
  ~WeightsDirectory();

  [[nodiscard]] const std::string& path() const { return path_; }
  /// A new folder in it for one model.
  Result<std::string> add();
  /// Removes a folder that add() made, and what is in it.
  static void remove(const std::string& folder);

 private:
  WeightsDirectory() = default;
  void close();

  std::string path_;
  int lock_ = -1;
  std::uint64_t next_ = 0;
};

}  // namespace paretod
