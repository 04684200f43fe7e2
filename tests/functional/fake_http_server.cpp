#include "tests/functional/fake_http_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace paretod::testing {
namespace {

bool receive(int connection, std::string& text) {
  std::array<char, 4096> piece{};
  const ssize_t got = recv(connection, piece.data(), piece.size(), 0);
  if (got <= 0) return false;
  text.append(piece.data(), static_cast<std::size_t>(got));
  return true;
}

void send_all(int connection, const std::string& text) {
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t now = send(connection, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (now <= 0) return;
    sent += static_cast<std::size_t>(now);
  }
}

/// `text` holds what was received beyond the last request.
std::optional<FakeRequest> read_request(int connection, std::string& text) {
  std::size_t end = std::string::npos;
  while ((end = text.find("\r\n\r\n")) == std::string::npos) {
    if (!receive(connection, text)) return {};
  }
  FakeRequest request;
  request.head = text.substr(0, end + 2);
  std::istringstream(request.head) >> request.method >> request.target;
  const auto length =
      static_cast<std::size_t>(std::atoll(("0" + request.header("Content-Length")).c_str()));
  while (text.size() < end + 4 + length) {
    if (!receive(connection, text)) return {};
  }
  request.body = text.substr(end + 4, length);
  text.erase(0, end + 4 + length);
  return request;
}

std::string text_of(const FakeReply& reply) {
  std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " Fake\r\n";
  for (const auto& [name, value] : reply.headers) text += name + ": " + value + "\r\n";
  text += "Content-Length: " + std::to_string(reply.body.size() + reply.missing_bytes) + "\r\n";
  return text + "\r\n" + reply.body;
}

}  // namespace

std::string FakeRequest::header(const std::string& name) const {
  std::istringstream lines(head);
  std::string line;
  while (std::getline(lines, line)) {
    const std::size_t colon = line.find(':');
    if (colon != name.size() || strncasecmp(line.c_str(), name.c_str(), colon) != 0) continue;
    const std::size_t begin = line.find_first_not_of(' ', colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin, line.find('\r') - begin);
  }
  return {};
}

FakeHttpServer::FakeHttpServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener_, generic, size) != 0 || listen(listener_, 16) != 0 ||
      getsockname(listener_, generic, &size) != 0) {
    throw std::runtime_error("the fake server cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

FakeHttpServer::~FakeHttpServer() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  for (auto& [connection, thread] : connections_) {
    shutdown(connection, SHUT_RDWR);
    thread.join();
    close(connection);
  }
}

std::vector<FakeRequest> FakeHttpServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::size_t FakeHttpServer::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_.size();
}

void FakeHttpServer::accept_all() {
  while (true) {
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) return;
    const std::lock_guard lock(mutex_);
    connections_.emplace_back(connection, std::thread([this, connection] { serve(connection); }));
  }
}

void FakeHttpServer::serve(int connection) {
  std::string text;
  while (const auto request = read_request(connection, text)) {
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(*request);
    }
    FakeReply reply;
    {
      const std::lock_guard lock(handling_);
      reply = handler_(*request);
    }
    if (reply.never) continue;
    if (!reply.hang_up) {
      send_all(connection, text_of(reply).substr(0, reply.cut_after.value_or(std::string::npos)));
    }
    if (reply.hang_up || reply.missing_bytes > 0 || reply.cut_after) break;
  }
  shutdown(connection, SHUT_RDWR);
}

}  // namespace paretod::testing
