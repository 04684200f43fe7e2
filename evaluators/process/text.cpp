#include "evaluators/process/text.hpp"

#include <algorithm>

namespace paretod {
namespace {

/// Bytes of the valid UTF-8 sequence at the start of `bytes`, 0 if there is none (RFC 3629).
std::size_t sequence_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  std::size_t length = 0;
  if (lead >= 0xC2 && lead <= 0xDF) length = 2;
  if (lead >= 0xE0 && lead <= 0xEF) length = 3;
  if (lead >= 0xF0 && lead <= 0xF4) length = 4;
  if (length == 0 || bytes.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && at(1) < 0xA0) || (lead == 0xF0 && at(1) < 0x90);
  const bool surrogate = lead == 0xED && at(1) > 0x9F;
  const bool beyond = lead == 0xF4 && at(1) > 0x8F;
  return overlong || surrogate || beyond ? 0 : length;
}

bool is_control(std::string_view sequence) {
  const auto byte = static_cast<unsigned char>(sequence[0]);
  return sequence.size() == 1 && byte != '\n' && byte != '\t' && (byte < 0x20 || byte == 0x7F);
}

}  // namespace

std::string printable_text(std::string_view bytes, std::size_t most) {
  constexpr std::string_view mark = "...";
  std::string out;
  while (!bytes.empty()) {
    const std::size_t length = sequence_length(bytes);
    std::string_view sequence = length == 0 ? "?" : bytes.substr(0, length);
    if (is_control(sequence)) sequence = "?";
    if (out.size() + sequence.size() > most) {
      // Room for the mark is made without cutting a character in two.
      std::size_t keep = most < mark.size() ? 0 : most - mark.size();
      while (keep > 0 && (static_cast<unsigned char>(out[keep]) & 0xC0) == 0x80) --keep;
      return out.substr(0, keep) + std::string(mark.substr(0, most));
    }
    out += sequence;
    bytes.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

void LineBuffer::append(std::string_view bytes) {
  if (begin_ > 0) {
    data_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
  }
  data_ += bytes;
}

std::optional<std::string_view> LineBuffer::next() {
  const std::size_t end = data_.find('\n', scanned_);
  if (end == std::string::npos) {
    scanned_ = data_.size();
    return {};
  }
  std::string_view line = std::string_view(data_).substr(begin_, end - begin_);
  if (line.size() > longest_) {
    scanned_ = end;  // too_long() then holds for good
    return {};
  }
  if (line.ends_with('\r')) line.remove_suffix(1);
  begin_ = scanned_ = end + 1;
  return line;
}

void TailBuffer::append(std::string_view bytes) {
  data_ += bytes;
  written_ += bytes.size();
  if (data_.size() > 2 * most_) data_.erase(0, data_.size() - most_);
}

std::string_view TailBuffer::bytes() const {
  std::string_view all = data_;
  if (all.size() > most_) all.remove_prefix(all.size() - most_);
  return all;
}

std::string_view TailBuffer::since(std::uint64_t position) const {
  const std::string_view all = bytes();
  const std::uint64_t wanted = written_ - std::min(position, written_);
  return all.substr(all.size() - std::min<std::uint64_t>(wanted, all.size()));
}

std::string TailBuffer::last_lines() const {
  constexpr std::size_t most_lines = 20;
  constexpr std::size_t most_bytes = 4096;
  std::string_view tail = bytes();
  while (tail.ends_with('\n')) tail.remove_suffix(1);
  if (tail.size() > most_bytes) tail.remove_prefix(tail.size() - most_bytes);
  std::size_t begin = tail.size();
  for (std::size_t lines = 0; lines < most_lines && begin != std::string_view::npos; ++lines) {
    begin = begin == 0 ? std::string_view::npos : tail.rfind('\n', begin - 1);
  }
  if (begin != std::string_view::npos) tail.remove_prefix(begin + 1);
  return printable_text(tail, most_bytes);
}

}  // namespace paretod
