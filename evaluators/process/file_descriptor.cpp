#include "evaluators/process/file_descriptor.hpp"

#include <unistd.h>

namespace paretod {

void FileDescriptor::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

}  // namespace paretod
