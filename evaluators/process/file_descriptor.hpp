#pragma once
// Ownership of a file descriptor.

#include <utility>

namespace paretod {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor() { close(); }
  void close();
  [[nodiscard]] int get() const { return fd_; }  ///< -1: none; poll() ignores it

 private:
  int fd_ = -1;
};

}  // namespace paretod
