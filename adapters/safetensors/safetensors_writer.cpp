#include "adapters/safetensors/safetensors_writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/safetensors/model_files.hpp"

namespace paretod {
namespace {

using nlohmann::json;

struct Shard {
  std::string name;
  std::string temporary;  ///< full path; empty once renamed
  int descriptor = -1;
  std::uint64_t data_begin = 0;
  std::uint64_t bytes = 0;  ///< of data
};

struct Place {
  std::size_t shard = 0;
  std::uint64_t offset = 0;  ///< in the shard's data
};

Error failed(const std::string& what, int code) {
  Error error = invalid(what + ": " + std::strerror(code));
  if (code == ENOSPC || code == EDQUOT) error.kind = ErrorKind::exhausted;
  return error;
}

Result<void> write_all(int descriptor, std::uint64_t at, std::span<const std::byte> bytes,
                       const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (done < 0) {
      if (errno == EINTR) continue;
      return failed(path, errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    at += static_cast<std::uint64_t>(done);
  }
  return {};
}

std::string header_of(const json& header) {
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data is aligned
  std::string out;
  for (unsigned i = 0; i < 8; ++i) out += static_cast<char>(text.size() >> (8 * i) & 0xFF);
  return out + text;
}

Result<void> start(Shard& shard, const std::string& path, const std::string& head) {
  shard.temporary = path + ".part";
  ::unlink(shard.temporary.c_str());  // left by a writer that died
  shard.descriptor = ::open(shard.temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (shard.descriptor < 0) {
    const int code = errno;
    const std::string name = std::exchange(shard.temporary, "");
    return failed(name, code);
  }
  // A full disk is better met now than after an hour of merging.
  const int code =
      ::posix_fallocate(shard.descriptor, 0, static_cast<off_t>(head.size() + shard.bytes));
  if (code != 0) return failed(shard.temporary, code);
  shard.data_begin = head.size();
  return write_all(shard.descriptor, 0, std::as_bytes(std::span(head)), shard.temporary);
}

Result<void> finish(Shard& shard, const std::string& path) {
  if (::fsync(shard.descriptor) != 0) return failed(shard.temporary, errno);
  if (::rename(shard.temporary.c_str(), path.c_str()) != 0) return failed(path, errno);
  shard.temporary.clear();
  return {};
}

std::string shard_name(std::size_t index, std::size_t count) {
  if (count == 1) return std::string(model_file_name);
  char text[64];
  std::snprintf(text, sizeof text, "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return text;
}

}  // namespace

std::uint64_t TensorLayout::elements() const {
  std::uint64_t count = 1;
  for (const std::uint64_t extent : shape) count *= extent;
  return count;
}

struct SafetensorsWriter::State {
  std::string folder;
  std::vector<TensorLayout> tensors;
  std::vector<Place> places;  ///< of each tensor
  std::vector<Shard> shards;
  Shard index;  ///< unnamed when there is one shard

  [[nodiscard]] std::string path_of(const Shard& shard) const { return folder + "/" + shard.name; }

  ~State() {
    for (Shard& shard : shards) discard(shard);
    discard(index);
  }
  static void discard(const Shard& shard) {
    if (shard.descriptor >= 0) ::close(shard.descriptor);
    if (!shard.temporary.empty()) ::unlink(shard.temporary.c_str());
  }

  void place(std::uint64_t shard_bytes) {
    shards.resize(1);
    for (const TensorLayout& tensor : tensors) {
      if (shards.back().bytes > 0 && shards.back().bytes + tensor.bytes() > shard_bytes) {
        shards.emplace_back();
      }
      places.push_back({shards.size() - 1, shards.back().bytes});
      shards.back().bytes += tensor.bytes();
    }
    for (std::size_t i = 0; i < shards.size(); ++i) shards[i].name = shard_name(i, shards.size());
  }

  [[nodiscard]] std::vector<json> headers(
      const std::map<std::string, std::string>& metadata) const {
    std::vector<json> out(shards.size(), json::object());
    for (json& header : out) {
      if (!metadata.empty()) header["__metadata__"] = metadata;
    }
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const TensorLayout& tensor = tensors[i];
      const std::uint64_t begin = places[i].offset;
      out[places[i].shard][tensor.name] = {{"dtype", name_of(tensor.dtype)},
                                           {"shape", tensor.shape},
                                           {"data_offsets", {begin, begin + tensor.bytes()}}};
    }
    return out;
  }

  [[nodiscard]] std::string index_text() const {
    std::uint64_t total = 0;
    json map = json::object();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      total += tensors[i].bytes();
      map[tensors[i].name] = shards[places[i].shard].name;
    }
    return json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(2) + "\n";
  }
};

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::string& folder, std::vector<TensorLayout> tensors, std::uint64_t shard_bytes,
    const std::map<std::string, std::string>& metadata) {
  auto state = std::make_unique<State>();
  state->folder = folder;
  state->tensors = std::move(tensors);
  state->place(shard_bytes);
  const std::vector<json> headers = state->headers(metadata);
  for (std::size_t i = 0; i < state->shards.size(); ++i) {
    Shard& shard = state->shards[i];
    auto started = start(shard, state->path_of(shard), header_of(headers[i]));
    if (!started) return started.error();
  }
  if (state->shards.size() > 1) {
    state->index.name = model_index_name;
    const std::string text = state->index_text();
    auto started = start(state->index, state->path_of(state->index), text);
    if (!started) return started.error();
  }
  return SafetensorsWriter(std::move(state));
}

const std::vector<TensorLayout>& SafetensorsWriter::tensors() const {
  return state_->tensors;
}

Result<void> SafetensorsWriter::write(std::size_t tensor, std::uint64_t offset,
                                      std::span<const std::byte> bytes) {
  const Place& place = state_->places[tensor];
  const Shard& shard = state_->shards[place.shard];
  return write_all(shard.descriptor, shard.data_begin + place.offset + offset, bytes,
                   shard.temporary);
}

Result<void> SafetensorsWriter::commit() {
  for (Shard& shard : state_->shards) {
    if (auto done = finish(shard, state_->path_of(shard)); !done) return done;
  }
  if (!state_->index.name.empty()) {
    if (auto done = finish(state_->index, state_->path_of(state_->index)); !done) return done;
  }
  const int folder = ::open(state_->folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return failed(state_->folder, errno);
  const bool synced = ::fsync(folder) == 0;
  const int code = errno;
  ::close(folder);
  if (!synced) return failed(state_->folder, code);
  return {};
}

std::vector<std::string> SafetensorsWriter::file_names() const {
  std::vector<std::string> names;
  for (const Shard& shard : state_->shards) names.push_back(shard.name);
  if (!state_->index.name.empty()) names.push_back(state_->index.name);
  return names;
}

}  // namespace paretod
